"""A command with places for values: read once, checked before it is stored, filled so that a value stays one word.

Contract: tools.md §14.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from goclaw.security.shell import simple_commands
from goclaw.security.shell.grammar import parse
from goclaw.security.shell.limits import Budget, TooMuch, Unreadable
from goclaw.security.shell.tree import (
    Case,
    Command,
    For,
    Group,
    If,
    Literal,
    Loop,
    Redirect,
    Script,
    Simple,
    Word,
)
from goclaw.tools.tool import ToolFailed

LONGEST = 131_072  # bytes of a command that is filled
ITEMS = 64  # of a list
BRACES = re.compile(r"\{\{(?:\.?(?P<key>[A-Za-z_][A-Za-z0-9_]*)\}\}|(?P<literal>\"\{\{\"\}\})|(?P<odd>))", re.ASCII)
UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f]")
QUOTES = "remove the quotes around {place}; values are quoted for you, and may stand only where an argument does"
SCALARS = frozenset({"string", "number", "integer", "boolean"})
Shapes = Mapping[str, Mapping[str, Any]]


class BadTemplate(ValueError):
    """Why a command cannot be stored, for who writes it."""


@dataclass(frozen=True)
class Place:
    """Where a value goes."""

    key: str


@dataclass(frozen=True)
class Template:
    pieces: tuple[str | Place, ...]

    def checked(self, shapes: Shapes) -> None:
        """Whether every place has a parameter and stands where a quoted word is a word. Raises BadTemplate."""
        for piece in self.pieces:
            if isinstance(piece, Place) and piece.key not in shapes:
                raise BadTemplate(f"{{{{.{piece.key}}}}} is not a parameter")
        _check_places(self, shapes)

    def filled(self, values: Mapping[str, Any], shapes: Shapes) -> str:
        """The command to run. Raises ToolFailed `invalid_args` for a value no command should see."""
        parts = [piece if isinstance(piece, str) else _text(piece.key, values, shapes) for piece in self.pieces]
        command = "".join(parts)
        if len(command.encode("utf-8", "surrogatepass")) > LONGEST:
            raise ToolFailed("invalid_args", f"with these arguments the command is longer than {LONGEST} bytes")
        return command

    @property
    def sample(self) -> str:
        """The command with harmless values, for those who judge it."""
        return "".join(piece if isinstance(piece, str) else "'1'" for piece in self.pieces)


def read_template(command: str) -> Template:
    """Raises BadTemplate."""
    pieces: list[str | Place] = []
    at = 0
    for found in BRACES.finditer(command):
        if found["odd"] is not None:
            near = command[found.start() : found.start() + 20]
            raise BadTemplate(f'{near!r} is no placeholder: write {{{{.name}}}}, or {{{{"{{{{"}}}} for two braces')
        pieces += [command[at : found.start()], Place(found["key"]) if found["key"] else "{{"]
        at = found.end()
    pieces.append(command[at:])
    return Template(tuple(piece for piece in pieces if piece))


def _text(key: str, values: Mapping[str, Any], shapes: Shapes) -> str:
    value, dashes = values.get(key), shapes.get(key, {}).get("x-allow-dash") is True
    if not isinstance(value, list):
        return _quoted(key, value, dashes)
    if len(value) > ITEMS:
        raise ToolFailed("invalid_args", f"/{key} has more than {ITEMS} items")
    return " ".join(_quoted(f"{key}/{number}", item, dashes) for number, item in enumerate(value))


def _quoted(place: str, value: Any, dashes: bool) -> str:
    if value is None:
        return "''"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    if UNFIT.search(text):
        raise ToolFailed("invalid_args", f"/{place} holds a control character")
    if text.startswith("-") and not dashes:
        raise ToolFailed("invalid_args", f"/{place} begins with a dash and would be read as an option")
    return "'" + text.replace("'", "'\"'\"'") + "'"


# --- where places may stand -----------------------------------------------------------------------


def _check_places(template: Template, shapes: Shapes) -> None:
    """Every place is replaced by a word like no other, and must be found as what a quoted text can stand for.

    One that may be a list is two words. What is not found stands in quotes, a comment, an expansion …
    """
    text, keys, mark = "", dict[str, str](), _mark(template)
    for number, piece in enumerate(template.pieces):
        if isinstance(piece, str):
            text += piece
            continue
        if text.endswith("$") or text.endswith("\\"):
            raise BadTemplate(f"{{{{.{piece.key}}}}} stands behind a {text[-1]}, which would change what it means")
        twice = 1 if shapes[piece.key].get("type") in SCALARS else 2
        words = [f"{mark}{number}.{time}%" for time in range(twice)]
        keys |= dict.fromkeys(words, piece.key)
        text += " ".join(words)
    try:
        script = parse(text.replace("\r\n", "\n").replace("\r", "\n"), Budget())
        found = re.findall(rf"{re.escape(mark)}\d+\.\d%", " ".join(_arguments(script)))
    except (Unreadable, TooMuch, RecursionError) as trouble:
        raise BadTemplate(f"the command cannot be read as one of a shell: {trouble}") from None
    for word, key in keys.items():
        if word not in found:
            raise BadTemplate(QUOTES.format(place=f"{{{{.{key}}}}}"))
    if keys and any(mark in one.name or not one.name for one in simple_commands(text)):
        raise BadTemplate("it must be plain which program gets a value")


def _mark(template: Template) -> str:
    """The beginning of words that occur nowhere in the command."""
    mark = "%value"
    while any(isinstance(piece, str) and mark in piece for piece in template.pieces):
        mark += "_"
    return mark


def _arguments(script: Script) -> Iterator[str]:
    """Every unquoted text that is no program's name, as far as it is read by the shell itself and at once."""
    for chain in script.chains:
        for pipeline in chain.pipelines:
            for command in pipeline.commands:
                yield from _of_command(command)


def _of_command(command: Command) -> Iterator[str]:
    match command:
        case Simple(assignments=assignments, words=words):
            for assignment in assignments:
                if assignment.items is None and not assignment.indexed:
                    yield from _bare(assignment.value)
            for word in words[1:]:
                yield from _bare(word)
        case Group(body=body):
            yield from _arguments(body)
        case If(arms=arms, otherwise=otherwise):
            for condition, body in arms:
                yield from _arguments(condition)
                yield from _arguments(body)
            if otherwise is not None:
                yield from _arguments(otherwise)
        case Loop(condition=condition, body=body):
            yield from _arguments(condition)
            yield from _arguments(body)
        case For(words=words, body=body):
            for word in words or ():
                yield from _bare(word)
            yield from _arguments(body)
        case Case(subject=subject, arms=cases):
            yield from _bare(subject)
            for _, body in cases:
                yield from _arguments(body)
        case _:  # functions run later, tests compute
            return
    for redirect in command.redirects:
        yield from _of_redirect(redirect)


def _of_redirect(redirect: Redirect) -> Iterator[str]:
    if redirect.op == "<<<" or not redirect.op.startswith("<<"):
        yield from _bare(redirect.target)


def _bare(word: Word) -> Iterator[str]:
    for part in word.parts:
        if isinstance(part, Literal) and not part.quoted:
            yield part.text
