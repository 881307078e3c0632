"""Reads the words of a shell text: quotes, expansions, substitutions. Contract: security.md §3.1."""

from __future__ import annotations

import re
from typing import Protocol

from goclaw.security.shell.limits import SUBSTITUTIONS, Budget, TooMuch, Unreadable
from goclaw.security.shell.syntax.escapes import unescape
from goclaw.security.shell.syntax.tree import Arithmetic, Literal, Parameter, Part, Process, Script, Substitution, Word

META = " \t\n;&|()<>"
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
PLAIN = re.compile(r"[^\s;&|()<>\\'\"$`]+|[^\S \t\n]")
QUOTED = re.compile(r"[^\\\"$`]+")
KEYWORD = re.compile(
    r"(?:if|then|else|elif|fi|for|while|until|do|done|case|esac|select|function|coproc|time|\[\[|[{}!])(?=[\s;&|()<>]|$)"
)
OPERATOR = re.compile(r":?[-=+?]|##?|%%?|//|/#|/%|/|\^\^?|,,?|@|:")


class Commands(Protocol):
    """Whoever reads what stands in substitutions, which are commands again."""

    def enclosed(self) -> Script:
        """The commands up to the closing parenthesis, which is read too."""

    def parsed(self, text: str) -> Script:
        """Another text as a script, one level deeper."""


class Lexer:
    """A text, and how far it is read."""

    def __init__(self, text: str, budget: Budget, depth: int, commands: Commands) -> None:
        self.text = text
        self.at = 0
        self.budget = budget
        self.depth = depth
        self.commands = commands

    def ahead(self, text: str) -> bool:
        return self.text.startswith(text, self.at)

    def here(self) -> str:
        """The character to read next, behind continued lines; empty at the end."""
        while self.ahead("\\\n"):
            self.at += 2
        return self.text[self.at : self.at + 1]

    def second(self) -> str:
        """The character behind the next; joins a line continued between the two."""
        while self.text.startswith("\\\n", self.at + 1):
            self.text = self.text[: self.at + 1] + self.text[self.at + 3 :]
        return self.text[self.at + 1 : self.at + 2]

    def blank(self) -> None:
        """Pass over blanks and a comment."""
        while (char := self.here()) and char in " \t":
            self.at += 1
        if char == "#":
            end = self.text.find("\n", self.at)
            self.at = len(self.text) if end < 0 else end

    def keyword(self) -> str:
        """The reserved word that stands here; empty if none does."""
        match = KEYWORD.match(self.text, self.at)
        return match[0] if match else ""

    def word(self) -> Word | None:
        """The word that begins here; None if there is none."""
        parts: list[Part] = []
        while char := self.here():
            if char in "<>" and self.text.startswith("(", self.at + 1):
                self.at += 2
                parts.append(Process(self._deeper(), writes=char == ">"))
            elif char in META:
                break
            else:
                parts += self._part(char)
        if not parts:
            return None
        self.budget.step()
        return Word(tuple(parts))

    def _part(self, char: str) -> list[Part]:
        """One piece of an unquoted text; `char` is its first character."""
        match char:
            case "\\":
                self.at += 2
                return [Literal(self.text[self.at - 1 : self.at] if self.at <= len(self.text) else "\\", quoted=True)]
            case "'":
                return [self._single()]
            case '"':
                return self._double()
            case "$":
                return self._dollar(quoted=False)
            case "`":
                return [self._backquote(quoted=False)]
        if match := PLAIN.match(self.text, self.at):
            self.at = match.end()
            return [Literal(match[0])]
        self.at += 1
        return [Literal(char)]

    def _single(self) -> Literal:
        end = self.text.find("'", self.at + 1)
        if end < 0:
            raise Unreadable("quote")
        text, self.at = self.text[self.at + 1 : end], end + 1
        return Literal(text, quoted=True)

    def _double(self) -> list[Part]:
        self.at += 1
        parts = [Literal("", quoted=True), *self.quoted('"')]
        self.at += 1
        return parts

    def quoted(self, end: str) -> list[Part]:
        """Parts as in double quotes, up to `end`; up to the end of the text if it is empty (a here-document)."""
        parts: list[Part] = []
        while True:
            if self.at >= len(self.text):
                if end:
                    raise Unreadable("quote")
                return parts
            char = self.text[self.at]
            if char == end:
                return parts
            if match := QUOTED.match(self.text, self.at):
                self.at = match.end()
                parts.append(Literal(match[0], quoted=True))
            elif char == "\\":
                following = self.text[self.at + 1 : self.at + 2]
                self.at += 2
                if following != "\n":
                    known = following and following in '$`\\"' and not (following == '"' and not end)
                    parts.append(Literal(following if known else "\\" + following, quoted=True))
            elif char == "$":
                parts += self._dollar(quoted=True)
            elif char == "`":
                parts.append(self._backquote(quoted=True))
            else:
                self.at += 1
                parts.append(Literal(char, quoted=True))

    def _dollar(self, *, quoted: bool) -> list[Part]:
        self.budget.step()
        self.at += 1
        following = self.here()
        if following == "(":
            self.at += 1
            return [self._parenthesis(quoted)]
        if following == "{":
            self.at += 1
            return [self._parameter(quoted)]
        if following == "'" and not quoted:
            return [self._ansi()]
        if following == '"' and not quoted:
            return self._double()
        if match := NAME.match(self.text, self.at):
            name = match[0]
            while self.text.startswith("\\\n", match.end()):  # the name goes on behind a continued line
                self.text = self.text[: match.end()] + self.text[match.end() + 2 :]
                match = NAME.match(self.text, self.at)
                assert match
                name = match[0]
            self.at += len(name)
            return [Parameter(name, quoted)]
        if following and following in "0123456789@*#?-$!":
            self.at += 1
            return [Parameter(following, quoted)]
        return [Literal("$", quoted)]

    def _ansi(self) -> Literal:
        start = self.at + 1
        end = start
        while end < len(self.text) and self.text[end] != "'":
            if self.text.startswith("\\'", end):
                raise Unreadable("ambiguous")  # a shell without $'…' ends the quote here
            end += 2 if self.text[end] == "\\" else 1
        if end >= len(self.text):
            raise Unreadable("quote")
        self.at = end + 1
        return Literal(unescape(self.text[start:end]).partition("\0")[0], quoted=True)

    def _parenthesis(self, quoted: bool) -> Part:
        if self.here() == "(":
            start = self.at
            self.at += 1
            inside = self.arithmetic()
            if inside is not None:
                return Arithmetic(inside, quoted)
            self.at = start
        return Substitution(self._deeper(), quoted)

    def arithmetic(self) -> Word | None:
        """What stands before `))`. None if these parentheses turn out to be commands."""
        self._descend()
        try:
            parts, level = list[Part](), 0
            while char := self.here():
                self.budget.step()
                if char == "(":
                    level += 1
                elif char == ")":
                    if level == 0:
                        if not self.text.startswith(")", self.at + 1):
                            return None
                        self.at += 2
                        return Word(tuple(parts))
                    level -= 1
                if char in META:
                    self.at += 1
                    parts.append(Literal(char))
                else:
                    parts += self._part(char)
            return None
        except Unreadable:
            return None
        finally:
            self.depth -= 1

    def _descend(self) -> None:
        self.depth += 1
        if self.depth > SUBSTITUTIONS:
            raise TooMuch("too_deep")

    def _deeper(self) -> Script:
        self._descend()
        self.budget.command()
        script = self.commands.enclosed()
        self.depth -= 1
        return script

    def _backquote(self, *, quoted: bool) -> Substitution:
        self.at += 1
        inner: list[str] = []
        while True:
            char = self.text[self.at : self.at + 1]
            if not char:
                raise Unreadable("quote")
            self.at += 1
            if char == "`":
                break
            if char == "\\":
                following = self.text[self.at : self.at + 1]
                self.at += 1
                inner.append(following if following in ('$`\\"' if quoted else "$`\\") else "\\" + following)
            else:
                inner.append(char)
        self._descend()
        self.budget.command()
        script = self.commands.parsed("".join(inner))
        self.depth -= 1
        return Substitution(script, quoted)

    def _parameter(self, quoted: bool) -> Part:
        """Behind `${`."""
        self._descend()
        mark = ""
        if self.here() in ("!", "#") and not self.text.startswith("}", self.at + 1):
            after = self.text[self.at + 1 : self.at + 2]
            if after == "_" or after.isalnum() or after in "@*":
                mark = self.text[self.at]
                self.at += 1
        match = NAME.match(self.text, self.at) or re.compile(r"\d+|[@*#?$!-]").match(self.text, self.at)
        if match is None:
            raise Unreadable("expansion")
        name, self.at = match[0], match.end()
        index = Word(())
        bracket = ""
        if self.here() == "[":
            start = self.at
            self.at += 1
            index = Word(tuple(self._until("]", quoted)))
            self.at += 1
            bracket = self.text[start + 1 : self.at - 1]
        op, arg, by = "", None, None
        if self.here() != "}":
            operator = OPERATOR.match(self.text, self.at)
            if operator is None:
                if not (mark == "!" and self.here() == "*"):
                    raise Unreadable("expansion")
                op = "*"
                self.at += 1
            else:
                op, self.at = operator[0], operator.end()
            arg = Word(tuple(self._until({"/": "/}", ":": ":}"}.get(op[0] if op[0] == "/" else op, "}"), quoted)))
            if self.here() != "}":
                self.at += 1
                by = Word(tuple(self._until("}", quoted)))
        self.at += 1
        self.depth -= 1
        computed = any(not isinstance(part, Literal) for part in index.parts)
        return Parameter(name, quoted, mark, bracket, op, arg, by, index if computed else None)

    def _until(self, ends: str, quoted: bool) -> list[Part]:
        """Parts inside `${…}` up to one of `ends`, which stays unread."""
        parts: list[Part] = []
        while char := self.here():
            self.budget.step()
            if char in ends:
                return parts
            if char == "'" and quoted:
                closing = self.text.find("'", self.at + 1)
                between = self.text[self.at + 1 : closing] if closing > 0 else ""
                if any(each in between for each in '}"`$\\'):
                    raise Unreadable("ambiguous")  # shells disagree whether this quotes
                self.at += 1
                parts.append(Literal("'", quoted=True))
            elif char not in "\\'\"$`":
                self.at += 1
                parts.append(Literal(char, quoted))
            elif char == "$":
                parts += self._dollar(quoted=quoted)
            else:
                parts += self._part(char)
        raise Unreadable("expansion")
