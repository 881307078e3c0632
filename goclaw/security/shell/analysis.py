"""Walks a script the way a shell would run it, and refuses at the first command that must not run.

Nothing is run. Where a condition decides, both ways are walked; where a loop turns, its body is walked until
nothing new is learned. Contract: security.md §3.1, §3.2.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from goclaw.security.shell.call import Call
from goclaw.security.shell.grammar import Parser, parse
from goclaw.security.shell.limits import SHELLS, SUBSTITUTIONS, VALUE, WORLDS, Budget, TooMuch, Unreadable
from goclaw.security.shell.resolve import Resolver
from goclaw.security.shell.run import run
from goclaw.security.shell.state import MOST, State, either
from goclaw.security.shell.text import FILE, HOLE, NET, NUMBER, PROCESS, known, normal
from goclaw.security.shell.tree import (
    Assignment,
    Case,
    Chain,
    Command,
    For,
    Function,
    Group,
    If,
    Loop,
    Pipeline,
    Redirect,
    Script,
    Simple,
    Test,
    Word,
)

TURNS = 3  # times a loop's body is walked
STEERS = re.compile(r"PATH|IFS|ENV|BASH_ENV|CDPATH|HOME|SHELL|TMPDIR|LD_\w+|GIT_\w+")  # what a program is, or does
LIVE = re.compile(r"^(?:PS4|PROMPT_COMMAND|SHELLOPTS|BASHOPTS)$")  # work without being exported
HIDDEN = re.compile(r"\w\[[^\]]*(?:\$\(|`)")  # a subscript that arithmetic would run


class Refused(Exception):
    def __init__(self, group: str, why: str) -> None:
        super().__init__(group)
        self.group = group
        self.why = why


@dataclass
class Analysis:
    """One walk over one text. `off`: groups that are switched off; `denied`: prefixes no command may name."""

    off: frozenset[str] = frozenset()
    workspace: str = ""
    denied: tuple[str, ...] = ()
    watch: Callable[[Call], None] | None = None  # sees every simple command, wrapped ones too
    budget: Budget = field(default_factory=Budget)
    state: State = field(default_factory=State)
    downloaded: set[str] = field(default_factory=set)  # files that came from the network on this line
    processes: list[str] = field(default_factory=list)  # texts of `<(…)`
    running: list[str] = field(default_factory=list)  # functions, innermost last
    shells: int = 0
    lenient: int = 0  # > 0 where a command word may stay open: nothing runs yet
    deep: int = 0

    def __post_init__(self) -> None:
        self.words = Resolver(self)
        self._world: dict[str, str] = {}
        self._worlds: list[dict[str, str]] = []

    # what resolving asks for

    def find(self, group: str, why: str) -> None:
        if group in self.off or (self.lenient and why == "opaque"):
            return
        raise Refused(group, why)

    def choose(self, key: str, choices: tuple[str, ...]) -> str:
        if len(choices) == 1:
            return choices[0]
        if self._world.get(key) not in choices:
            self._worlds += [{**self._world, key: other} for other in choices[1:]]
            self._world[key] = choices[0]
        return self._world[key]

    def output(self, script: Script) -> str:
        before = self.state
        self.state = before.copy()
        try:
            return self.script(script)
        finally:
            self.state = before

    def process(self, script: Script, *, writes: bool) -> str:
        self.processes.append(HOLE if writes else "")
        place = len(self.processes) - 1
        text = self.output(script)
        if not writes:
            self.processes[place] = text
        return f"{PROCESS}{place}"

    def hidden(self, text: str) -> None:
        if HIDDEN.search(text):
            parts = Parser(text, self.budget, SUBSTITUTIONS - 4).quoted("")
            self.words.text(Word(tuple(parts)))

    # scripts

    def run_text(self, text: str, arguments: tuple[str, ...] | None = (), *, stdin: str | None, here: bool) -> str:
        """A text as a script of its own; `here`: in this shell, else in a child that knows what is exported."""
        text = text.replace(NUMBER, "0").replace(FILE, HOLE)
        if NET in text:
            self.find("data_exfiltration", "network to shell")
        if HOLE in text or NET in text or PROCESS in text:
            self.find("code_injection", "unknown text")
            return HOLE
        self.shells += 1
        if self.shells > SHELLS:
            raise TooMuch("too_deep")
        before = self.state
        try:
            script = parse(text, self.budget)
            if not here:
                self.state = before.child()
                self.state.arguments = arguments
            if (seen := normal(text)) != text:
                self.output(parse(seen, self.budget))
            return self.script(script, stdin)
        except Unreadable as error:
            self.find("filter_bypass", str(error))
            return HOLE
        finally:
            self.shells -= 1
            if not here:
                self.state = before

    def script(self, script: Script, stdin: str | None = None) -> str:
        """Walk it; what it prints."""
        self.deep += 1
        if self.deep > 60:
            raise TooMuch("too_deep")
        text = "".join(self._chain(chain, stdin) for chain in script.chains)
        self.deep -= 1
        return text if len(text) <= VALUE else HOLE

    def _chain(self, chain: Chain, stdin: str | None) -> str:
        if chain.background:
            before = self.state.copy()
            text = self._links(chain, stdin)
            self.state = either([before, self.state])
            return text
        return self._links(chain, stdin)

    def _links(self, chain: Chain, stdin: str | None) -> str:
        texts = [self._pipeline(chain.pipelines[0], stdin)]
        if not chain.links:
            return texts[0]
        success = failure = self.state
        for link, pipeline in zip(chain.links, chain.pipelines[1:], strict=True):
            self.state = (success if link == "&&" else failure).copy()
            texts.append(self._pipeline(pipeline, stdin))
            if link == "&&":
                success, failure = self.state, either([failure, self.state])
            else:
                success, failure = either([success, self.state]), self.state
        self.state = either([success, failure])
        return "".join(texts)

    def _pipeline(self, pipeline: Pipeline, stdin: str | None) -> str:
        if len(pipeline.commands) == 1:
            return self.command(pipeline.commands[0], stdin)
        before, ways = self.state, [self.state]
        text = stdin
        for command in pipeline.commands:
            self.state = before.copy()
            text = self.command(command, text)
            ways.append(self.state)
        self.state = either(ways)
        return text or ""

    def _each(self, act: Callable[[], str]) -> list[str]:
        """Do `act` once for every combination of values the variables it reads may have."""
        outer, waiting = (self._world, self._worlds), [dict(self._world)]
        before = self.state
        texts: list[str] = []
        ways: list[State] = []
        try:
            while waiting:
                if len(texts) >= WORLDS:
                    raise TooMuch("budget")
                self.budget.step()
                self._world, self._worlds = waiting.pop(0), []
                self.state = before.copy()
                texts.append(act())
                ways.append(self.state)
                waiting += self._worlds
        finally:
            self._world, self._worlds = outer
        self.state = either(ways)
        return texts

    def command(self, command: Command, stdin: str | None = None) -> str:
        if isinstance(command, Simple):
            return _one(self._each(lambda: self._simple(command, stdin)))
        if command.redirects:
            given = self._each(lambda: self._around(command.redirects, stdin)[0] or "")
            if any(each.op.startswith("<") for each in command.redirects):
                stdin = _one(given)
        text = self._compound(command, stdin)
        if any(redirect.op in (">", ">>", ">|", "&>", "&>>") for redirect in command.redirects):
            self._keep(text, [self.words.text(each.target) for each in command.redirects])
            return ""
        return text

    def _around(self, redirects: tuple[Redirect, ...], stdin: str | None) -> tuple[str | None, list[tuple[str, str]]]:
        stdin, targets = self._redirected(redirects, stdin)
        run(self, Call((":",), None, tuple(targets), (), self._cwd(), self.workspace))
        return stdin, targets

    def _compound(self, command: Command, stdin: str | None) -> str:
        match command:
            case Group(body=body, subshell=subshell):
                before = self.state
                if subshell:
                    self.state = before.copy()
                text = self.script(body, stdin)
                if subshell:
                    self.state = before
                return text
            case If():
                return self._if(command, stdin)
            case Loop(condition=condition, body=turned):
                return self._turns(lambda: self.script(condition, stdin) + self.script(turned, stdin))
            case For():
                return self._for(command, stdin)
            case Case():
                return self._case(command, stdin)
            case Test(words=words, plain=plain):
                self.lenient += 1
                self.output(plain)
                self.lenient -= 1
                for word in words:
                    for text in self._each(lambda word=word: self.words.text(word)):  # type: ignore[misc]
                        self.hidden(text)
                return ""
            case Function(name=name, body=defined):
                return self._define(name, defined)
        return ""

    def _if(self, command: If, stdin: str | None) -> str:
        ways: list[State] = []
        texts: list[str] = []
        for condition, body in command.arms:
            texts.append(self.script(condition, stdin))
            skipped = self.state.copy()
            texts.append(self.script(body, stdin))
            ways.append(self.state)
            self.state = skipped
        if command.otherwise is not None:
            texts.append(self.script(command.otherwise, stdin))
        self.state = either([*ways, self.state])
        return "".join(texts)

    def _turns(self, turn: Callable[[], str]) -> str:
        texts: list[str] = []
        for _ in range(TURNS):
            before = self.state.copy()
            texts.append(turn())
            self.state = either([before, self.state])
            if self.state.values == before.values and self.state.arrays == before.arrays:
                break
        else:
            for name, values in self.state.values.items():
                if values != before.values.get(name):
                    self.state.values[name] = tuple(dict.fromkeys((*values, HOLE)))
        return texts[0] if len(set(texts)) == 1 else HOLE

    def _for(self, command: For, stdin: str | None) -> str:
        items: list[str] = []
        for word in command.words or ():
            self._each(lambda word=word: self._collect(word, items))  # type: ignore[misc]
        items = list(dict.fromkeys(items))
        numbers = [each for each in items if each.isdigit()]
        items = [each for each in items if each not in numbers[2:]]
        if len(items) >= MOST:  # too many to try each of them: at least none is a file nobody may read
            run(self, Call(("cat", *items), None, (), (), self._cwd(), self.workspace))
            items = items[: MOST - 1]

        def turn() -> str:
            self.state.values[command.name] = tuple(dict.fromkeys((HOLE, *items)))
            self.state.arrays.pop(command.name, None)
            return self.script(command.body, stdin)

        return self._turns(turn)

    def _collect(self, word: Word, items: list[str]) -> str:
        items += self.words.fields(word)
        return ""

    def _case(self, command: Case, stdin: str | None) -> str:
        self._each(lambda: self.words.text(command.subject))
        before, ways = self.state, [self.state]
        texts: list[str] = []
        for patterns, body in command.arms:
            for pattern in patterns:
                self._each(lambda pattern=pattern: self.words.text(pattern))  # type: ignore[misc]
            self.state = before.copy()
            texts.append(self.script(body, stdin))
            ways.append(self.state)
        self.state = either(ways)
        return "".join(texts)

    def _define(self, name: str, body: Command) -> str:
        if _pipes_into(name, body):
            self.find("destructive_ops", "fork bomb")
        before = self.state
        self.state = before.copy()
        self.state.arguments = None
        self.state.functions[name] = body
        self.lenient += 1
        self.running.append(name)
        self.command(body)
        self.running.pop()
        self.lenient -= 1
        self.state = before
        self.state.functions[name] = body
        return ""

    def call_function(self, name: str, arguments: tuple[str, ...], stdin: str | None) -> str:
        if name in self.running:
            return HOLE
        self.budget.step(10)  # calls multiply
        outer = self.state.arguments
        self.state.arguments = arguments
        self.running.append(name)
        text = self.command(self.state.functions[name], stdin)
        self.running.pop()
        self.state.arguments = outer
        return text

    # simple commands

    def _simple(self, command: Simple, stdin: str | None) -> str:
        if command.other is not None:
            self.lenient += 1
            self._simple(command.other, None)
            self.lenient -= 1
        words = [field for word in command.words for field in self.words.fields(word)]
        names = tuple(each.name for each in command.assignments)
        stdin, targets = self._redirected(command.redirects, stdin)
        if not words:
            for assignment in command.assignments:
                self._assign(assignment)
            if self.watch is not None and any(STEERS.fullmatch(name) for name in names):
                self.watch(Call(tuple(f"{name}=" for name in names)))
            if any(LIVE.match(name) or self.state.exports for name in names):
                run(self, Call((":",), None, (), names))
            run(self, Call((":",), None, tuple(targets), (), self._cwd(), self.workspace))
            return ""
        before = self.state.copy() if names else None
        for assignment in command.assignments:
            self._assign(assignment)
        self.state.exported |= frozenset(names)
        text = run(self, Call(tuple(words), stdin, tuple(targets), names, self._cwd(), self.workspace))
        if before is not None:
            for name in names:  # an assignment in front of a command ends with it
                self.state.values.pop(name, None)
                if name in before.values:
                    self.state.values[name] = before.values[name]
            self.state.exported = before.exported
        if any(op in (">", ">>", ">|", "&>", "&>>") for op, _ in targets):
            self._keep(text, [target for op, target in targets if ">" in op])
            return ""
        return text

    def _keep(self, text: str, targets: list[str]) -> None:
        if NET in text:
            self.downloaded.update(Call((":",), cwd=self._cwd()).where(target) for target in targets)

    def _cwd(self) -> str:
        if "PWD" not in self.state.values:
            return ""
        cwd = self.choose("PWD", self.state.values["PWD"])
        return cwd if known(cwd) else ""

    def _assign(self, assignment: Assignment) -> None:
        name, state = assignment.name, self.state
        if assignment.items is not None:
            items = [field for word in assignment.items for field in self.words.fields(word)]
            earlier = list(state.arrays.get(name, ())) if assignment.append else []
            items = [HOLE] if any(re.match(r"\[[^\]]*\]\+?=", each) for each in items) else earlier + items
            state.put(name, items[0] if items else "")
            state.arrays[name] = tuple(items[:VALUE])
            return
        value = self.words.text(assignment.value)
        self.hidden(value)
        if assignment.indexed:
            state.put(name, HOLE)
            state.arrays[name] = (HOLE,)
            return
        if assignment.append:
            earlier_value = self.choose(name, state.values.get(name, (HOLE,)))
            value = earlier_value + value
        state.put(name, value)

    def _redirected(
        self, redirects: tuple[Redirect, ...], stdin: str | None
    ) -> tuple[str | None, list[tuple[str, str]]]:
        """What a command reads, and the files it is connected with."""
        targets: list[tuple[str, str]] = []
        for redirect in redirects:
            if redirect.op in ("<<", "<<-"):
                stdin = self.words.text(redirect.body) if redirect.body else ""
                continue
            if redirect.op == "<<<":
                stdin = self.words.text(redirect.target) + "\n"
                continue
            for target in self.words.fields(redirect.target) or [""]:
                if redirect.op in (">&", "<&") and re.fullmatch(r"[\d-]*-?", target):
                    continue
                targets.append((redirect.op, target))
                if redirect.op in ("<", "<>") and redirect.fd in ("", "0"):
                    stdin = self.read(target)
        return stdin, targets

    def read(self, name: str) -> str:
        """The text behind an argument that names a file."""
        if (match := re.fullmatch(f"{PROCESS}(\\d+)", name)) is not None:
            return self.processes[int(match[1])]
        if Call((":",), cwd=self._cwd()).where(name) in self.downloaded:
            return NET
        return FILE


def _one(texts: list[str]) -> str:
    return texts[0] if len(set(texts)) == 1 else (NET if any(NET in text for text in texts) else HOLE)


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
