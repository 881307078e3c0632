"""Here-documents: named in a command, read after its line."""

from __future__ import annotations

from collections.abc import Callable

from goclaw.security.shell.limits import Unreadable
from goclaw.security.shell.syntax.lexer import Lexer
from goclaw.security.shell.syntax.tree import Literal, Part, Redirect, Word


class HereDocuments:
    """Those of one text. `quoted` reads a body as in double quotes."""

    def __init__(self, lexer: Lexer, quoted: Callable[[str], list[Part]]) -> None:
        self.lexer = lexer
        self.quoted = quoted
        self.pending: list[tuple[Redirect, str, bool]] = []

    def expect(self, redirect: Redirect, end: str, *, literal: bool) -> None:
        """Its body begins on the next line and stops before the line `end`; `literal`: nothing in it is expanded."""
        self.pending.append((redirect, end, literal))

    def read(self) -> None:
        """The bodies of those that are expected; they begin here."""
        pending, self.pending = self.pending, []
        for redirect, end, literal in pending:
            redirect.body = self._body(end, tabs=redirect.op == "<<-", literal=literal)

    def _body(self, end: str, *, tabs: bool, literal: bool) -> Word:
        lexer = self.lexer
        lines: list[str] = []
        continued = False
        while lexer.at < len(lexer.text):
            lexer.budget.step()
            stop = lexer.text.find("\n", lexer.at)
            line = lexer.text[lexer.at :] if stop < 0 else lexer.text[lexer.at : stop]
            lexer.at = len(lexer.text) if stop < 0 else stop + 1
            bare = line.lstrip("\t") if tabs else line
            if bare == end:
                if continued:
                    raise Unreadable("ambiguous")  # the end, or the end of a continued line
                break
            ends_open = not literal and (len(bare) - len(bare.rstrip("\\"))) % 2 == 1
            if (ends_open or continued) and end.startswith(bare.rstrip("\\")) and bare.rstrip("\\"):
                raise Unreadable("ambiguous")
            continued = ends_open
            lines.append(bare)
        text = "".join(line + "\n" for line in lines)
        if literal:
            return Word((Literal(text, quoted=True),))
        return Word((Literal("", quoted=True), *self.quoted(text)))
