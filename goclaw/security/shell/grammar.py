"""Reads the commands of a shell text: POSIX sh and the bash forms of security.md §3.1."""

from __future__ import annotations

import contextlib
import re

from goclaw.security.shell.lexer import Lexer
from goclaw.security.shell.limits import NESTING, Budget, TooMuch, Unreadable
from goclaw.security.shell.tree import (
    Assignment,
    Case,
    Chain,
    Command,
    For,
    Function,
    Group,
    If,
    Literal,
    Loop,
    Pipeline,
    Redirect,
    Script,
    Simple,
    Test,
    Word,
)

KEYWORDS = frozenset(
    [
        "if",
        "then",
        "else",
        "elif",
        "fi",
        "for",
        "while",
        "until",
        "do",
        "done",
        "case",
        "esac",
        "select",
        "function",
        "{",
        "}",
        "!",
        "[[",
        "coproc",
        "time",
        "in",
    ]
)
KEYWORD = re.compile(
    r"(?:if|then|else|elif|fi|for|while|until|do|done|case|esac|select|function|coproc|time|\[\[|[{}!])(?=[\s;&|()<>]|$)"
)
REDIRECT = re.compile(r"(\d+|\{\w+\})?(<<<|<<-|<<|<&|<>|<(?!\()|>>|>&|>\||>(?!\()|&>>|&>)")
ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(\[[^\]=]*\])?(\+?)=", re.ASCII)
DEFINITION = re.compile(r"\([ \t]*\)")
NOTHING = Script(())
EMPTY = Word((Literal("", quoted=True),))


def parse(text: str, budget: Budget, depth: int = 0) -> Script:
    """The whole of `text`. Raises Unreadable, TooMuch."""
    return Parser(text, budget, depth).whole()


class Parser(Lexer):
    def __init__(self, text: str, budget: Budget, depth: int = 0) -> None:
        super().__init__(text, budget, depth)
        self.nested = 0
        self.pending: list[tuple[Redirect, str, bool]] = []  # here-documents whose lines are to come

    def whole(self) -> Script:
        script = self._script()
        if self.at < len(self.text):
            raise Unreadable("syntax")
        self._bodies()
        return script

    def prefix(self) -> Script:
        """As much of the text as can be read; for what only another shell would read as commands."""
        chains: list[Chain] = []
        with contextlib.suppress(Unreadable):
            self._script(into=chains)
        return Script(tuple(chains))

    def parsed(self, text: str) -> Script:
        return parse(text, self.budget, self.depth)

    def enclosed(self) -> Script:
        outer, self.pending = self.pending, []
        script = self._script()
        if self.here() != ")" or self.pending:
            raise Unreadable("parenthesis")
        self.at += 1
        self.pending = outer
        return script

    # blanks, comments, ends of lines

    def _blank(self) -> None:
        while (char := self.here()) and char in " \t":
            self.at += 1
        if char == "#":
            end = self.text.find("\n", self.at)
            self.at = len(self.text) if end < 0 else end

    def _lines(self) -> None:
        """Blanks, comments and ends of lines; reads the here-documents that begin after one."""
        while True:
            self._blank()
            if self.here() != "\n":
                return
            self.at += 1
            self._bodies()

    def _bodies(self) -> None:
        pending, self.pending = self.pending, []
        for redirect, end, literal in pending:
            redirect.body = self._body(end, tabs=redirect.op == "<<-", literal=literal)

    def _body(self, end: str, *, tabs: bool, literal: bool) -> Word:
        lines: list[str] = []
        continued = False
        while self.at < len(self.text):
            self.budget.step()
            stop = self.text.find("\n", self.at)
            line = self.text[self.at :] if stop < 0 else self.text[self.at : stop]
            self.at = len(self.text) if stop < 0 else stop + 1
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
        inner = Parser(text, self.budget, self.depth)
        return Word((Literal("", quoted=True), *inner.quoted("")))

    # lists

    def _script(self, *until: str, into: list[Chain] | None = None) -> Script:
        """Commands up to one of the words `until`, a closing parenthesis or the end of a case arm."""
        self.nested += 1
        if self.nested > NESTING:
            raise TooMuch("too_deep")
        chains: list[Chain] = [] if into is None else into
        while True:
            self._lines()
            if (
                not self.here()
                or self.here() == ")"
                or self.ahead(";;")
                or self.ahead(";&")
                or self._keyword() in until
            ):
                break
            chain = self._chain()
            self._blank()
            char = self.here()
            if char == "&":
                self.at += 1
                chain = Chain(chain.pipelines, chain.links, background=True)
            elif char == ";" and not self.ahead(";;") and not self.ahead(";&"):
                self.at += 1
            chains.append(chain)
            if char not in ("&", ";", "\n"):
                break
        self.nested -= 1
        return Script(tuple(chains))

    def _keyword(self) -> str:
        match = KEYWORD.match(self.text, self.at)
        return match[0] if match else ""

    def _expect(self, word: str) -> None:
        self._lines()
        if self._keyword() != word:
            raise Unreadable("syntax")
        self.at += len(word)

    def _chain(self) -> Chain:
        pipelines, links = [self._pipeline()], list[str]()
        while True:
            self._blank()
            first = self.here()
            if first not in ("&", "|") or self._second() != first:
                return Chain(tuple(pipelines), tuple(links))
            links.append(first * 2)
            self.at += 2
            self._lines()
            pipelines.append(self._pipeline())

    def _second(self) -> str:
        """The character behind the next; joins a line continued between the two."""
        while self.text.startswith("\\\n", self.at + 1):
            self.text = self.text[: self.at + 1] + self.text[self.at + 3 :]
        return self.text[self.at + 1 : self.at + 2]

    def _pipeline(self) -> Pipeline:
        self._blank()
        while (word := self._keyword()) in ("!", "time"):
            self.at += len(word)
            self._blank()
            if word == "time" and re.compile(r"-p(?=\s)").match(self.text, self.at):
                self.at += 2
                self._blank()
            if not self.here() or self.here() in "\n;&|)":
                return Pipeline((Simple((), ()),))
        commands = [self._command()]
        while True:
            self._blank()
            if self.here() != "|" or self._second() == "|":
                return Pipeline(tuple(commands))
            self.at += 1
            if self.here() == "&":
                self.at += 1
            self._lines()
            commands.append(self._command())

    # commands

    def _command(self) -> Command:
        self.budget.command()
        self.nested += 1
        if self.nested > NESTING:
            raise TooMuch("too_deep")
        try:
            return self._compound()
        finally:
            self.nested -= 1

    def _compound(self) -> Command:
        self._blank()
        if self.here() == "(":
            return self._parentheses()
        match self._keyword():
            case "{":
                self.at += 1
                body = self._script("}")
                self._expect("}")
                return Group(body, False, self._redirects())
            case "if":
                return self._if()
            case "while" | "until" as word:
                self.at += len(word)
                condition = self._script("do")
                return Loop(condition, self._do(), self._redirects())
            case "for" | "select" as word:
                self.at += len(word)
                return self._for()
            case "case":
                return self._case()
            case "function":
                self.at += 8
                self._blank()
                name = self.word()
                self._blank()
                if match := DEFINITION.match(self.text, self.at):
                    self.at = match.end()
                return self._function(name)
            case "coproc":
                self.at += 6
                return self._command()
            case "[[":
                return self._test()
            case "":
                return self._simple()
        raise Unreadable("syntax")

    def _parentheses(self) -> Command:
        start = self.at
        if self._second() == "(":
            self.at += 2
            inside = self.arithmetic()
            if inside is not None:
                plain = Parser(self.text[start + 2 : self.at - 2], self.budget, self.depth).prefix()
                return Test((inside,), plain, self._redirects())
            self.at = start
        self.at += 1
        body = self.enclosed()
        return Group(body, True, self._redirects())

    def _if(self) -> If:
        self.at += 2
        arms: list[tuple[Script, Script]] = []
        otherwise = None
        while True:
            condition = self._script("then")
            self._expect("then")
            arms.append((condition, self._script("elif", "else", "fi")))
            self._lines()
            if self._keyword() != "elif":
                break
            self.at += 4
        if self._keyword() == "else":
            self.at += 4
            otherwise = self._script("fi")
        self._expect("fi")
        return If(tuple(arms), otherwise, self._redirects())

    def _do(self) -> Script:
        self._expect("do")
        body = self._script("done")
        self._expect("done")
        return body

    def _for(self) -> Command:
        self._blank()
        if self.ahead("(("):
            self.at += 2
            head = self.arithmetic()
            if head is None:
                raise Unreadable("syntax")
            self._blank()
            if self.here() == ";":
                self.at += 1
            condition = Script((Chain((Pipeline((Test((head,), NOTHING),)),), ()),))
            return Loop(condition, self._for_body(), self._redirects())
        name = self.word()
        if name is None or name.bare is None:
            raise Unreadable("syntax")
        self._lines()
        words: list[Word] | None = None
        if re.compile(r"in(?=[\s;&|()<>]|$)").match(self.text, self.at):
            self.at += 2
            words = []
            self._blank()
            while (word := self.word()) is not None:
                words.append(word)
                self._blank()
        if self.here() == ";":
            self.at += 1
        return For(name.bare, None if words is None else tuple(words), self._for_body(), self._redirects())

    def _for_body(self) -> Script:
        self._lines()
        if self._keyword() == "{":
            self.at += 1
            body = self._script("}")
            self._expect("}")
            return body
        return self._do()

    def _case(self) -> Case:
        self.at += 4
        self._blank()
        subject = self.word()
        self._lines()
        if subject is None or not re.compile(r"in(?=[\s(]|$)").match(self.text, self.at):
            raise Unreadable("syntax")
        self.at += 2
        arms: list[tuple[tuple[Word, ...], Script]] = []
        while True:
            self._lines()
            if self._keyword() == "esac":
                self.at += 4
                return Case(subject, tuple(arms), self._redirects())
            if self.here() == "(":
                self.at += 1
                self._blank()
            patterns: list[Word] = []
            while True:
                self._blank()
                pattern = self.word()
                self._blank()
                if pattern is None or self.here() not in ("|", ")"):
                    raise Unreadable("syntax")
                patterns.append(pattern)
                self.at += 1
                if self.text[self.at - 1] == ")":
                    break
            arms.append((tuple(patterns), self._script("esac")))
            self._lines()
            for end in (";;&", ";;", ";&"):
                if self.ahead(end):
                    self.at += len(end)
                    break
            else:
                if self._keyword() != "esac":
                    raise Unreadable("syntax")

    def _function(self, name: Word | None) -> Function:
        if name is None or name.bare is None:
            raise Unreadable("syntax")
        self._lines()
        return Function(name.bare, self._command())

    def _test(self) -> Test:
        self.at += 2
        start = self.at
        words: list[Word] = []
        while True:
            self._lines()
            if not self.here():
                raise Unreadable("syntax")
            if self.ahead("]]") and (len(self.text) == self.at + 2 or self.text[self.at + 2] in " \t\n;&|)<>"):
                plain = Parser("[ " + self.text[start : self.at], self.budget, self.depth).prefix()
                self.at += 2
                return Test(tuple(words), plain, self._redirects())
            word = self.word()
            if word is None:
                self.at += 1
            else:
                words.append(word)

    def _redirects(self) -> tuple[Redirect, ...]:
        found: list[Redirect] = []
        while True:
            self._blank()
            redirect = self._redirect()
            if redirect is None:
                return tuple(found)
            found.append(redirect)

    def _redirect(self) -> Redirect | None:
        match = REDIRECT.match(self.text, self.at)
        if match is None:
            return None
        self.at = match.end()
        fd, op = match[1] or "", match[2]
        self._blank()
        start = self.at
        target = self.word()
        if target is None:
            raise Unreadable("syntax")
        redirect = Redirect(op, fd, target)
        if op in ("<<", "<<-"):
            if not all(isinstance(part, Literal) for part in target.parts) or "\\\n" in self.text[start : self.at]:
                raise Unreadable("here-document")
            end = "".join(part.text for part in target.parts if isinstance(part, Literal))
            redirect.body = Word((Literal("", quoted=True),))
            self.pending.append((redirect, end, target.bare is None))
        return redirect

    def _simple(self) -> Command:
        assignments: list[Assignment] = []
        words: list[Word] = []
        redirects: list[Redirect] = []
        split: tuple[int, int] | None = None  # where a shell without `&>` begins another command
        while True:
            self._blank()
            if redirect := self._redirect():
                if redirect.op.startswith("&"):
                    split = split or (len(words), len(redirects))
                redirects.append(redirect)
                continue
            start = self.at
            word = self.word()
            if word is None:
                break
            assignment = ASSIGNMENT.match(self.text, start)
            if assignment and self.at == assignment.end() and self.here() == "(":
                self.at += 1
                items = self._items()
                if not words:
                    assignments.append(Assignment(assignment[1], EMPTY, bool(assignment[3]), items))
                else:
                    words += [word, *items]
            elif assignment and not words:
                value = _behind(word, assignment.end() - start)
                assignments.append(Assignment(assignment[1], value, bool(assignment[3]), indexed=bool(assignment[2])))
            else:
                if not words and word.bare in KEYWORDS and word.bare != "in":
                    raise Unreadable("syntax")  # a keyword spelled over two lines
                words.append(word)
                if len(words) == 1 and not assignments and not redirects and self.here() in ("(", " ", "\t"):
                    before = self.at
                    self._blank()
                    if match := DEFINITION.match(self.text, self.at):
                        self.at = match.end()
                        return self._function(word)
                    self.at = before
        if not (assignments or words or redirects):
            raise Unreadable("syntax")
        other = None
        if split and len(words) > split[0]:
            other = Simple((), tuple(words[split[0] :]), tuple(redirects[split[1] :]))
        return Simple(tuple(assignments), tuple(words), tuple(redirects), other)

    def _items(self) -> tuple[Word, ...]:
        items: list[Word] = []
        while True:
            self._lines()
            if self.here() == ")":
                self.at += 1
                return tuple(items)
            word = self.word()
            if word is None:
                raise Unreadable("syntax")
            items.append(word)


def _behind(word: Word, length: int) -> Word:
    """A word without its first `length` characters, if they stand in its first part; else the whole of it."""
    first = word.parts[0]
    if isinstance(first, Literal) and len(first.text) >= length and not first.quoted:
        rest = (Literal(first.text[length:]),) if len(first.text) > length else ()
        return Word((*rest, *word.parts[1:]))
    return word
