"""Reads the commands of a shell text: POSIX sh and the bash forms of security.md §3.1."""

from __future__ import annotations

import contextlib
import re

from goclaw.security.shell.limits import NESTING, Budget, TooMuch, Unreadable
from goclaw.security.shell.syntax.compound import compound
from goclaw.security.shell.syntax.heredocs import HereDocuments
from goclaw.security.shell.syntax.lexer import Lexer
from goclaw.security.shell.syntax.tree import Chain, Command, Part, Pipeline, Script, Simple


def parse(text: str, budget: Budget, depth: int = 0) -> Script:
    """The whole of `text`. Raises Unreadable, TooMuch."""
    return Parser(text, budget, depth).whole()


def quoted(text: str, budget: Budget, depth: int) -> list[Part]:
    """What stands in `text` as in double quotes. Raises Unreadable, TooMuch."""
    return Parser(text, budget, depth).lexer.quoted("")


class Parser:
    """Lists and pipelines of one text; its words are read by the lexer, its commands by `compound` and `simple`."""

    def __init__(self, text: str, budget: Budget, depth: int = 0) -> None:
        self.lexer = Lexer(text, budget, depth, self)
        self.documents = HereDocuments(self.lexer, self._quoted)
        self.nested = 0

    def whole(self) -> Script:
        script = self.script()
        if self.lexer.at < len(self.lexer.text):
            raise Unreadable("syntax")
        self.documents.read()
        return script

    def prefix(self, text: str) -> Script:
        """As much of another text as can be read; for what only another shell would read as commands."""
        chains: list[Chain] = []
        with contextlib.suppress(Unreadable):
            Parser(text, self.lexer.budget, self.lexer.depth).script(into=chains)
        return Script(tuple(chains))

    def _quoted(self, text: str) -> list[Part]:
        return quoted(text, self.lexer.budget, self.lexer.depth)

    def parsed(self, text: str) -> Script:
        return parse(text, self.lexer.budget, self.lexer.depth)

    def enclosed(self) -> Script:
        outer, self.documents.pending = self.documents.pending, []
        script = self.script()
        if self.lexer.here() != ")" or self.documents.pending:
            raise Unreadable("parenthesis")
        self.lexer.at += 1
        self.documents.pending = outer
        return script

    def lines(self) -> None:
        """Blanks, comments and ends of lines; reads the here-documents that begin after one."""
        while True:
            self.lexer.blank()
            if self.lexer.here() != "\n":
                return
            self.lexer.at += 1
            self.documents.read()

    def script(self, *until: str, into: list[Chain] | None = None) -> Script:
        """Commands up to one of the words `until`, a closing parenthesis or the end of a case arm."""
        self.nested += 1
        if self.nested > NESTING:
            raise TooMuch("too_deep")
        chains: list[Chain] = [] if into is None else into
        while True:
            self.lines()
            if (
                not self.lexer.here()
                or self.lexer.here() == ")"
                or self.lexer.ahead(";;")
                or self.lexer.ahead(";&")
                or self.lexer.keyword() in until
            ):
                break
            chain = self._chain()
            self.lexer.blank()
            char = self.lexer.here()
            if char == "&":
                self.lexer.at += 1
                chain = Chain(chain.pipelines, chain.links, background=True)
            elif char == ";" and not self.lexer.ahead(";;") and not self.lexer.ahead(";&"):
                self.lexer.at += 1
            chains.append(chain)
            if char not in ("&", ";", "\n"):
                break
        self.nested -= 1
        return Script(tuple(chains))

    def expect(self, word: str) -> None:
        self.lines()
        if self.lexer.keyword() != word:
            raise Unreadable("syntax")
        self.lexer.at += len(word)

    def _chain(self) -> Chain:
        pipelines, links = [self._pipeline()], list[str]()
        while True:
            self.lexer.blank()
            first = self.lexer.here()
            if first not in ("&", "|") or self.lexer.second() != first:
                return Chain(tuple(pipelines), tuple(links))
            links.append(first * 2)
            self.lexer.at += 2
            self.lines()
            pipelines.append(self._pipeline())

    def _pipeline(self) -> Pipeline:
        lexer = self.lexer
        lexer.blank()
        while (word := lexer.keyword()) in ("!", "time"):
            lexer.at += len(word)
            lexer.blank()
            if word == "time" and re.compile(r"-p(?=\s)").match(lexer.text, lexer.at):
                lexer.at += 2
                lexer.blank()
            if not lexer.here() or lexer.here() in "\n;&|)":
                return Pipeline((Simple((), ()),))
        commands = [self.command()]
        while True:
            lexer.blank()
            if lexer.here() != "|" or lexer.second() == "|":
                return Pipeline(tuple(commands))
            lexer.at += 1
            if lexer.here() == "&":
                lexer.at += 1
            self.lines()
            commands.append(self.command())

    def command(self) -> Command:
        self.lexer.budget.command()
        self.nested += 1
        if self.nested > NESTING:
            raise TooMuch("too_deep")
        try:
            return compound(self)
        finally:
            self.nested -= 1
