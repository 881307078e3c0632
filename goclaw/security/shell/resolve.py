"""What a word becomes, as far as that can be said without running anything. Contract: security.md §3.2."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

from goclaw.security.shell.limits import WORDS, Budget, TooMuch
from goclaw.security.shell.state import State
from goclaw.security.shell.syntax.braces import expanded
from goclaw.security.shell.syntax.escapes import unescape
from goclaw.security.shell.syntax.tree import Arithmetic, Literal, Parameter, Part, Process, Script, Substitution, Word
from goclaw.security.shell.text import (
    FILE,
    HOLE,
    NUMBER,
    PATTERN,
    PROCESS,
    active,
    known,
    number,
    plain,
    regex,
)

SECRET = re.compile(r"GOCLAW_.*(?:TOKEN|KEY|SECRET|DSN|PASSWORD|CREDENTIAL)")  # §3.3 group 15
TILDE = re.compile(r"~([\w+-]*)(?=/|$)")
LONG = 1000  # characters a pattern is tried on
ROOTED = ("HOME", "PWD", "PATH", "SHELL", "OLDPWD")  # variables that begin with a slash wherever we run
NUMBERS = ("?", "$", "!", "#", "RANDOM", "SECONDS", "LINENO", "UID", "EUID", "PPID", "BASHPID", "OPTIND", "COLUMNS")


class Shell(Protocol):
    """What resolving needs of the analysis around it."""

    state: State
    budget: Budget

    def find(self, group: str, why: str) -> None:
        """Refuse, unless the group is switched off."""

    def choose(self, key: str, choices: tuple[str, ...]) -> str:
        """One of several possibilities; every one is looked at in turn."""

    def output(self, script: Script) -> str:
        """Judge a substitution and give its text."""

    def process(self, script: Script, *, writes: bool) -> str:
        """Judge a process substitution and give its name."""

    def hidden(self, text: str) -> None:
        """Judge the substitutions that arithmetic would run inside of `text`."""


class Resolver:
    def __init__(self, shell: Shell) -> None:
        self.shell = shell

    def fields(self, word: Word) -> list[str]:
        """The arguments a word becomes."""
        budget = self.shell.budget
        found = [field for parts in expanded(word.parts, budget) for field in self._fields(parts)]
        budget.step(len(found) // 8)
        return found

    def text(self, word: Word) -> str:
        """A word where nothing is split: an assignment, a here-document, a pattern."""
        return plain("".join(self._texts(word.parts)))

    def _texts(self, parts: tuple[Part, ...]) -> Iterator[str]:
        for at, part in enumerate(parts):
            if isinstance(part, Literal):
                yield self._literal(part, first=at == 0)
            else:
                many = self._many(part)
                yield " ".join(many) if many is not None else self._part(part)

    def _literal(self, part: Literal, *, first: bool) -> str:
        if part.quoted:
            return part.text
        text = part.text
        if first and text.startswith("~") and (match := TILDE.match(text)):
            text = self._home(match[1]) + text[match.end() :]
        return active(text)

    def _home(self, user: str) -> str:
        if user == "+":
            return self._value("PWD") or HOLE
        if user == "-":
            return HOLE
        return {"": "~", "root": "/root"}.get(user, f"/home/{user}")

    def _fields(self, parts: tuple[Part, ...]) -> list[str]:
        done: list[str] = []
        current: str | None = None
        for at, part in enumerate(parts):
            if isinstance(part, Literal):
                current = (current or "") + self._literal(part, first=at == 0)
                continue
            many = self._many(part)
            if many is not None:
                pieces = many
                self.shell.budget.step(len(many) // 8)
            elif part.quoted:
                current = (current or "") + self._part(part)
                continue
            else:
                pieces = self._split(self._part(part))
            for place, piece in enumerate(pieces):
                if place and current is not None:
                    done.append(current)
                    current = None
                if piece or place or (many is not None and part.quoted):
                    current = (current or "") + (piece if part.quoted else active(piece))
            if not part.quoted and current == "":
                current = None
        return done if current is None else [*done, current]

    def _split(self, text: str) -> list[str]:
        separators = self._value("IFS")
        if separators is None or not known(separators):
            separators = " \t\n"
        if not separators:
            return [text] if text else []
        return re.split("[" + re.escape(separators) + "]+", text)

    def _part(self, part: Part) -> str:
        match part:
            case Literal():
                return part.text
            case Parameter():
                return self._parameter(part)
            case Substitution():
                return self.shell.output(part.script).rstrip("\n").replace(FILE, HOLE)
            case Process():
                return self.shell.process(part.script, writes=part.writes)
            case Arithmetic():
                text = self.text(part.inside)
                for name in re.findall(r"[A-Za-z_]\w*", text):
                    self.shell.hidden(self._value(name) or "")
                self.shell.hidden(text)
                value = number(text)
                return NUMBER if value is None else str(value)

    # parameters

    def _value(self, name: str) -> str | None:
        state = self.shell.state
        if name in state.values:
            return self.shell.choose(name, state.values[name])
        if name.isdigit() and name != "0":
            if state.arguments is None:
                return None
            return state.arguments[int(name) - 1] if int(name) <= len(state.arguments) else ""
        if name in ("@", "*"):
            return None if state.arguments is None else " ".join(state.arguments)
        if name == "IFS":
            return " \t\n"
        if name == "HOME":
            return "~"
        return NUMBER if name in NUMBERS else None

    def _many(self, part: Part) -> list[str] | None:
        """The elements of `$@` and of whole arrays; None for anything that is one text."""
        if not isinstance(part, Parameter) or part.mark == "#" or part.op not in ("", ":"):
            return None
        state = self.shell.state
        if part.name in ("@", "*") and not part.mark:
            found = state.arguments
        elif part.index in ("@", "*") and not part.mark:
            found = state.arrays.get(part.name)
            if found is None and part.name in state.values:
                found = (self._value(part.name) or "",)
        else:
            return None
        self._secret(part.name)
        if part.op or found is None:
            for word in (part.arg, part.by):
                self.text(word or Word(()))
            return [HOLE]
        if len(found) > WORDS:
            raise TooMuch("budget")
        if part.quoted and "*" in (part.name, part.index):
            return [" ".join(found)]
        return list(found)

    def _secret(self, name: str) -> None:
        if SECRET.match(name):
            self.shell.find("env_dump", "secret")

    def _parameter(self, part: Parameter) -> str:
        self._secret(part.name)
        if part.subscript is not None:
            self.shell.hidden(self.text(part.subscript))
        value = self._value(part.name)
        if part.mark == "!":
            if part.op in ("*", "@") and part.arg is not None and not part.arg.parts:
                if "GOCLAW_".startswith(part.name) or part.name.startswith("GOCLAW_"):
                    self.shell.find("env_dump", "prefix")
                return HOLE
            if value is None or not known(value):
                value = None
            else:
                self._secret(value)
                self.shell.hidden(value)
                value = self._value(value)
        if part.index and not part.mark:
            value = self._element(part)
        if part.mark == "#":
            return str(len(value)) if value is not None and known(value) else NUMBER
        return self._operation(part, value) if part.op else (HOLE if value is None else value)

    def _element(self, part: Parameter) -> str | None:
        items = self.shell.state.arrays.get(part.name)
        if items is None or HOLE in items or not part.index.isdigit():
            return None if items is None and part.name not in self.shell.state.values else HOLE
        return items[int(part.index)] if int(part.index) < len(items) else ""

    def _operation(self, part: Parameter, value: str | None) -> str:
        op, arg = part.op, part.arg or Word(())
        if op in (":-", "-", ":=", "="):
            if value or (value == "" and ":" not in op):
                return value
            text = self.text(arg)
            if "=" in op:
                self.shell.state.put(part.name, text)
            return text
        if op in (":+", "+"):
            text = self.text(arg)
            if value is None:
                return self.shell.choose(f"{part.name}+", (text, ""))
            return text if value or op == "+" else ""
        if op == "@":
            return self._transformed(self.text(arg), value)
        texts = self.text(arg), self.text(part.by) if part.by is not None else ""
        if op in (":?", "?"):
            return HOLE if value is None else value
        if op == ":" and part.name in ROOTED and texts[0].strip() == "0" and texts[1].strip() == "1":
            return "/"
        if value is None or not known(value) or part.name in ROOTED or not all(map(known, texts)):
            return HOLE
        return _edited(op, value, *texts, pattern="".join(self._texts(arg.parts)))

    def _transformed(self, how: str, value: str | None) -> str:
        if how not in ("Q", "U", "u", "L", "E", "A", "a", "K", "k"):
            self.shell.find("filter_bypass", "transform")
            return HOLE
        if value is None or not known(value):
            return HOLE
        match how:
            case "U":
                return value.upper()
            case "L":
                return value.lower()
            case "u":
                return value[:1].upper() + value[1:]
            case "E":
                return unescape(value)
        return HOLE


def _edited(op: str, value: str, text: str, by: str, pattern: str) -> str:
    """A known value after `#`, `%`, `/`, `:`, `^` or `,`; a hole if that takes too long to say."""
    if len(value) > LONG:
        return HOLE
    if op == ":":
        start, length = number(text), number(by) if by else len(value)
        if start is None or length is None:
            return HOLE
        start = max(0, len(value) + start) if start < 0 else start
        return value[start : len(value) + length if length < 0 else start + length]
    if op in ("^", "^^", ",", ",,"):
        if text:
            return HOLE
        changed = value.upper() if op[0] == "^" else value.lower()
        return changed if len(op) == 2 else changed[:1] + value[1:]
    expression = regex(pattern, greedy=op not in ("#", "%"))
    if expression is None:
        return HOLE
    compiled = re.compile(expression, re.DOTALL)
    if op[0] == "#":
        match = compiled.match(value)
        return value[match.end() :] if match else value
    if op[0] == "%":
        places = range(len(value), -1, -1) if op == "%" else range(len(value) + 1)
        return next((value[:at] for at in places if compiled.fullmatch(value, at)), value)
    if op == "/#":
        match = compiled.match(value)
        return by + value[match.end() :] if match else value
    if op == "/%":
        return next((value[:at] + by for at in range(len(value) + 1) if compiled.fullmatch(value, at)), value)
    if not text:
        return value
    return compiled.sub(lambda _: by, value, count=0 if op == "//" else 1)


def wildcard(field: str) -> bool:
    return PATTERN.search(field) is not None and plain(field) != field


def process_of(field: str) -> int | None:
    """Which `<(…)` an argument names."""
    match = re.fullmatch(f"{PROCESS}(\\d+)", field)
    return int(match[1]) if match else None
