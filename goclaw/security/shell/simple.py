"""Simple commands: what they set, what they are connected with, what they run. Contract: security.md §3.2."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from goclaw.security.shell.call import Call
from goclaw.security.shell.limits import VALUE
from goclaw.security.shell.programs import started
from goclaw.security.shell.run import run
from goclaw.security.shell.syntax.tree import Assignment, Redirect, Simple
from goclaw.security.shell.text import HOLE, NET

if TYPE_CHECKING:
    from goclaw.security.shell.analysis import Analysis

STEERS = re.compile(r"PATH|IFS|ENV|BASH_ENV|CDPATH|HOME|SHELL|TMPDIR|LD_\w+|GIT_\w+")  # what a program is, or does
LIVE = re.compile(r"^(?:PS4|PROMPT_COMMAND|SHELLOPTS|BASHOPTS)$")  # work without being exported


def simple(walk: Analysis, command: Simple, stdin: str | None) -> str:
    """What it prints. Raises Refused, TooMuch."""
    if command.other is not None:
        walk.lenient += 1
        simple(walk, command.other, None)
        walk.lenient -= 1
    words = [field for word in command.words for field in walk.words.fields(word)]
    names = tuple(each.name for each in command.assignments)
    stdin, targets = redirected(walk, command.redirects, stdin)
    if not words:
        for assignment in command.assignments:
            _assign(walk, assignment)
        if walk.watch is not None and any(STEERS.fullmatch(name) for name in names):
            walk.watch(Call(tuple(f"{name}=" for name in names)))
        if any(LIVE.match(name) or walk.state.exports for name in names):
            run(walk, Call((":",), None, (), names))
        run(walk, Call((":",), None, tuple(targets), (), walk.cwd(), walk.workspace))
        return ""
    before = walk.state.copy() if names else None
    for assignment in command.assignments:
        _assign(walk, assignment)
    walk.state.exported |= frozenset(names)
    text = run(walk, Call(tuple(words), stdin, tuple(targets), names, walk.cwd(), walk.workspace))
    if before is not None:
        for name in names:  # an assignment in front of a command ends with it
            walk.state.values.pop(name, None)
            if name in before.values:
                walk.state.values[name] = before.values[name]
        walk.state.exported = before.exported
    if any(op in (">", ">>", ">|", "&>", "&>>") for op, _ in targets):
        keep(walk, text, [target for op, target in targets if ">" in op])
        return ""
    return text


def _assign(walk: Analysis, assignment: Assignment) -> None:
    name, state = assignment.name, walk.state
    if assignment.items is not None:
        items = [field for word in assignment.items for field in walk.words.fields(word)]
        earlier = list(state.arrays.get(name, ())) if assignment.append else []
        items = [HOLE] if any(re.match(r"\[[^\]]*\]\+?=", each) for each in items) else earlier + items
        state.put(name, items[0] if items else "")
        state.arrays[name] = tuple(items[:VALUE])
        return
    value = walk.words.text(assignment.value)
    walk.hidden(value)
    started(walk, name, value)
    if assignment.indexed:
        state.put(name, HOLE)
        state.arrays[name] = (HOLE,)
        return
    if assignment.append:
        earlier_value = walk.choose(name, state.values.get(name, (HOLE,)))
        value = earlier_value + value
    state.put(name, value)


def redirected(
    walk: Analysis, redirects: tuple[Redirect, ...], stdin: str | None
) -> tuple[str | None, list[tuple[str, str]]]:
    """What a command reads, and the files it is connected with."""
    targets: list[tuple[str, str]] = []
    for redirect in redirects:
        if redirect.op in ("<<", "<<-"):
            stdin = walk.words.text(redirect.body) if redirect.body else ""
            continue
        if redirect.op == "<<<":
            stdin = walk.words.text(redirect.target) + "\n"
            continue
        for target in walk.words.fields(redirect.target) or [""]:
            if redirect.op in (">&", "<&") and re.fullmatch(r"[\d-]*-?", target):
                if redirect.op == "<&":
                    stdin = walk.descriptors.get(target, stdin)
                continue
            if redirect.op == "<&":
                stdin = HOLE
                continue
            targets.append((redirect.op, target))
            if redirect.op in ("<", "<>") and redirect.fd in ("", "0"):
                stdin = walk.read(target)
            elif redirect.op in ("<", "<>"):
                walk.descriptors[redirect.fd] = walk.read(target)
    return stdin, targets


def around(walk: Analysis, redirects: tuple[Redirect, ...], stdin: str | None) -> str:
    """Judges the redirections of a compound command; what it reads."""
    stdin, targets = redirected(walk, redirects, stdin)
    run(walk, Call((":",), None, tuple(targets), (), walk.cwd(), walk.workspace))
    return stdin or ""


def keep(walk: Analysis, text: str, targets: list[str]) -> None:
    """Remember the files that now hold what came from the network."""
    if NET in text:
        walk.downloaded.update(Call((":",), cwd=walk.cwd()).where(target) for target in targets)
