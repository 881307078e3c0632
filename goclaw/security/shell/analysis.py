"""Walks a script the way a shell would run it, and refuses at the first command that must not run.

Nothing is run. Where a condition decides, both ways are walked; where a loop turns, its body is walked until
nothing new is learned. Contract: security.md §3.1, §3.2.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from goclaw.security.shell.call import Call
from goclaw.security.shell.control import compound
from goclaw.security.shell.limits import SHELLS, SUBSTITUTIONS, VALUE, WORLDS, Budget, TooMuch, Unreadable
from goclaw.security.shell.resolve import Resolver
from goclaw.security.shell.simple import around, keep, simple
from goclaw.security.shell.state import State, either
from goclaw.security.shell.syntax.grammar import parse, quoted
from goclaw.security.shell.syntax.tree import Chain, Command, Pipeline, Script, Simple, Word
from goclaw.security.shell.text import BIDI, FILE, HOLE, NET, NUMBER, PROCESS, joined, known, normal

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
    descriptors: dict[str, str] = field(default_factory=dict)  # texts behind `3<`
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
            parts = quoted(text, self.budget, SUBSTITUTIONS - 4)
            self.words.text(Word(tuple(parts)))

    # scripts

    def run_text(self, text: str, arguments: tuple[str, ...] | None = (), *, stdin: str | None, here: bool) -> str:
        """A text as a script of its own; `here`: in this shell, else in a child that knows what is exported."""
        text = joined(text.replace(NUMBER, "0").replace(FILE, HOLE))
        if BIDI.search(text):
            raise Refused("filter_bypass", "bidi")
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

    def each(self, act: Callable[[], str]) -> list[str]:
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
            return _one(self.each(lambda: simple(self, command, stdin)))
        if command.redirects:
            given = self.each(lambda: around(self, command.redirects, stdin))
            if any(each.op.startswith("<") for each in command.redirects):
                stdin = _one(given)
        text = compound(self, command, stdin)
        if any(redirect.op in (">", ">>", ">|", "&>", "&>>") for redirect in command.redirects):
            keep(self, text, [self.words.text(each.target) for each in command.redirects])
            return ""
        return text

    def cwd(self) -> str:
        if "PWD" not in self.state.values:
            return ""
        cwd = self.choose("PWD", self.state.values["PWD"])
        return cwd if known(cwd) else ""

    def read(self, name: str) -> str:
        """The text behind an argument that names a file."""
        if (match := re.fullmatch(f"{PROCESS}(\\d+)", name)) is not None:
            return self.processes[int(match[1])]
        if (match := re.fullmatch(r"/dev/fd/(\d+)|/proc/self/fd/(\d+)", name)) is not None:
            return self.descriptors.get(match[1] or match[2], FILE)
        if Call((":",), cwd=self.cwd()).where(name) in self.downloaded:
            return NET
        return FILE


def _one(texts: list[str]) -> str:
    return texts[0] if len(set(texts)) == 1 else (NET if any(NET in text for text in texts) else HOLE)
