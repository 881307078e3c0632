"""Where the placeholders of a command template stand. Contract: tools.md §14.2.

A value is put in as one quoted word, which is safe only where a bare argument stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from goclaw.security.shell.limits import LENGTH, Budget, TooMuch, Unreadable
from goclaw.security.shell.rereads import rereads
from goclaw.security.shell.syntax.grammar import parse
from goclaw.security.shell.syntax.tree import (
    Case,
    Command,
    For,
    Function,
    Group,
    If,
    Literal,
    Loop,
    Script,
    Simple,
    Word,
)
from goclaw.security.shell.text import MARKS

PLACE = re.compile(r"\{\{\s*\.?([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
FIRST = 0xFDD8  # placeholders are lexed as noncharacters
MOST = 16  # different placeholders in a template; as many as there are noncharacters left, ours


def misplaced(template: str) -> list[str]:
    """The placeholders that do not stand as bare arguments, each once; also those of a text that cannot be read.

    A placeholder inside quotes, a substitution, arithmetic, a here-document, a comment or the command word is one.
    """
    names = list(dict.fromkeys(PLACE.findall(template)))
    if MARKS.search(template) or len(names) > MOST or len(template) > LENGTH:
        return names
    marks = {name: chr(FIRST + place) for place, name in enumerate(names)}
    text = PLACE.sub(lambda match: marks[match[1]], template)
    try:
        bare = "".join(_bare(parse(text, Budget())))
    except (Unreadable, TooMuch):
        return names
    loose = re.compile(r"[$\\]$")
    wrong = []
    for name, mark in marks.items():
        before = [text[: at.start()] for at in re.finditer(mark, text)]
        if bare.count(mark) != text.count(mark) or any(map(loose.search, before)):
            wrong.append(name)
    return wrong


def reread(template: str) -> list[str]:
    """The placeholders of a template that `misplaced` has nothing against, whose values somebody reads as code."""
    names = list(dict.fromkeys(PLACE.findall(template)))
    marks = {name: chr(FIRST + place) for place, name in enumerate(names)}
    script = parse(PLACE.sub(lambda match: marks[match[1]], template), Budget())
    return [name for name, mark in marks.items() if rereads(script, mark)]


def _bare(script: Script) -> Iterator[str]:
    """The unquoted text of every argument that no substitution encloses."""
    for chain in script.chains:
        for pipeline in chain.pipelines:
            for command in pipeline.commands:
                yield from _arguments(command)


def _arguments(command: Command) -> Iterator[str]:
    for redirect in command.redirects:
        if not redirect.op.startswith("<<"):
            yield from _texts([redirect.target])
    match command:
        case Simple(assignments=assignments, words=words):
            yield from _texts([each.value for each in assignments if each.items is None])
            yield from _texts(words[1:])
        case Group(body=body):
            yield from _bare(body)
        case If(arms=arms, otherwise=otherwise):
            for condition, body in arms:
                yield from _bare(condition)
                yield from _bare(body)
            if otherwise is not None:
                yield from _bare(otherwise)
        case Loop(condition=condition, body=body):
            yield from _bare(condition)
            yield from _bare(body)
        case For(words=items, body=body):
            yield from _texts(items or ())
            yield from _bare(body)
        case Case(subject=subject, arms=branches):
            yield from _texts([subject])
            for _, body in branches:
                yield from _bare(body)
        case Function(body=inner):
            yield from _arguments(inner)


def _texts(words: Sequence[Word]) -> Iterator[str]:
    for word in words:
        yield from (part.text for part in word.parts if isinstance(part, Literal) and not part.quoted)
