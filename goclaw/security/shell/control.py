"""Compound commands: where a condition decides, both ways are walked. Contract: security.md §3.1, §3.2."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from goclaw.security.shell.call import Call
from goclaw.security.shell.run import run
from goclaw.security.shell.state import MOST, State, either
from goclaw.security.shell.syntax.tree import Case, Command, For, Function, Group, If, Loop, Simple, Test, Word
from goclaw.security.shell.text import HOLE

if TYPE_CHECKING:
    from goclaw.security.shell.analysis import Analysis

TURNS = 3  # times a loop's body is walked


def compound(walk: Analysis, command: Command, stdin: str | None) -> str:
    """What it prints. Raises Refused, TooMuch."""
    match command:
        case Group(body=body, subshell=subshell):
            before = walk.state
            if subshell:
                walk.state = before.copy()
            text = walk.script(body, stdin)
            if subshell:
                walk.state = before
            return text
        case If():
            return _if(walk, command, stdin)
        case Loop(condition=condition, body=turned):
            return _turns(walk, lambda: walk.script(condition, stdin) + walk.script(turned, stdin))
        case For():
            return _for(walk, command, stdin)
        case Case():
            return _case(walk, command, stdin)
        case Test(words=words, plain=plain):
            walk.lenient += 1
            walk.output(plain)
            walk.lenient -= 1
            for word in words:
                for text in walk.each(lambda word=word: walk.words.text(word)):  # type: ignore[misc]
                    walk.hidden(text)
            return ""
        case Function(name=name, body=defined):
            return _define(walk, name, defined)
    return ""


def _if(walk: Analysis, command: If, stdin: str | None) -> str:
    ways: list[State] = []
    texts: list[str] = []
    for condition, body in command.arms:
        texts.append(walk.script(condition, stdin))
        skipped = walk.state.copy()
        texts.append(walk.script(body, stdin))
        ways.append(walk.state)
        walk.state = skipped
    if command.otherwise is not None:
        texts.append(walk.script(command.otherwise, stdin))
    walk.state = either([*ways, walk.state])
    return "".join(texts)


def _turns(walk: Analysis, turn: Callable[[], str]) -> str:
    texts: list[str] = []
    for _ in range(TURNS):
        before = walk.state.copy()
        texts.append(turn())
        walk.state = either([before, walk.state])
        if walk.state.values == before.values and walk.state.arrays == before.arrays:
            break
    else:
        for name, values in walk.state.values.items():
            if values != before.values.get(name):
                walk.state.values[name] = tuple(dict.fromkeys((*values, HOLE)))
    return texts[0] if len(set(texts)) == 1 else HOLE


def _for(walk: Analysis, command: For, stdin: str | None) -> str:
    items: list[str] = []
    for word in command.words or ():
        walk.each(lambda word=word: _collect(walk, word, items))  # type: ignore[misc]
    items = list(dict.fromkeys(items))
    numbers = [each for each in items if each.isdigit()]
    items = [each for each in items if each not in numbers[2:]]
    if len(items) >= MOST:  # too many to try each of them: at least none is a file nobody may read
        run(walk, Call(("cat", *items), None, (), (), walk.cwd(), walk.workspace))
        items = items[: MOST - 1]

    def turn() -> str:
        walk.state.values[command.name] = tuple(dict.fromkeys((HOLE, *items)))
        walk.state.arrays.pop(command.name, None)
        return walk.script(command.body, stdin)

    return _turns(walk, turn)


def _collect(walk: Analysis, word: Word, items: list[str]) -> str:
    items += walk.words.fields(word)
    return ""


def _case(walk: Analysis, command: Case, stdin: str | None) -> str:
    walk.each(lambda: walk.words.text(command.subject))
    before, ways = walk.state, [walk.state]
    texts: list[str] = []
    for patterns, body in command.arms:
        for pattern in patterns:
            walk.each(lambda pattern=pattern: walk.words.text(pattern))  # type: ignore[misc]
        walk.state = before.copy()
        texts.append(walk.script(body, stdin))
        ways.append(walk.state)
    walk.state = either(ways)
    return "".join(texts)


def _define(walk: Analysis, name: str, body: Command) -> str:
    if _pipes_into(name, body):
        walk.find("destructive_ops", "fork bomb")
    before = walk.state
    walk.state = before.copy()
    walk.state.arguments = None
    walk.state.functions[name] = body
    walk.lenient += 1
    walk.running.append(name)
    walk.command(body)
    walk.running.pop()
    walk.lenient -= 1
    walk.state = before
    walk.state.functions[name] = body
    return ""


def _pipes_into(name: str, body: Command) -> bool:
    """Does the function start itself twice at once?"""
    if not isinstance(body, Group):
        return False
    for chain in body.body.chains:
        for pipeline in chain.pipelines:
            own = [
                isinstance(each, Simple) and bool(each.words) and each.words[0].bare == name
                for each in pipeline.commands
            ]
            if sum(own) > 1 or (any(own) and chain.background):
                return True
    return False
