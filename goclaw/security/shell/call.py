"""One simple command as the rules see it: its words resolved, its wrappers removed."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from goclaw.security.shell.text import GLOB, HOLE, UNKNOWN, normal, plain

Result = TypeVar("Result")


def base(word: str) -> str:
    """The name a program is judged by: no directory, lower case, no `.exe`."""
    return normal(plain(word)).rpartition("/")[2].casefold().removesuffix(".exe")


def opaque(word: str) -> bool:
    """Is it open which program this names?"""
    return GLOB.search(word) is not None or UNKNOWN.search(word.rpartition("/")[2]) is not None or not word


@dataclass(frozen=True)
class Call:
    """Its lists are read again and again and changed by nobody."""

    words: tuple[str, ...]
    stdin: str | None = None  # what it reads from a pipe or a here-document; None if nothing is given
    redirects: tuple[tuple[str, str], ...] = ()  # operator and target of those to and from files
    sets: tuple[str, ...] = ()  # names of variables it gets
    cwd: str = ""  # empty where the line starts
    workspace: str = ""

    @cached_property
    def name(self) -> str:
        return base(self.words[0]) if self.words else ""

    @cached_property
    def args(self) -> list[str]:
        """The arguments. What an unset variable may leave of a flag counts as that flag."""
        found: list[str] = []
        for word in self.words[1:]:
            rest = word.replace(HOLE, "") if HOLE in word else word
            found.append(plain(rest if rest.startswith("-") and len(rest) > 1 else word))
        return found

    @cached_property
    def operands(self) -> list[str]:
        args = self.args
        if "--" in args:
            at = args.index("--")
            return [each for each in args[:at] if not flag(each)] + args[at + 1 :]
        return [each for each in args if not flag(each)]

    @cached_property
    def flags(self) -> list[str]:
        args = self.args
        return [each for each in (args[: args.index("--")] if "--" in args else args) if flag(each)]

    def short(self, letters: str) -> bool:
        """Is one of `letters` given as a short flag, alone or among others?"""
        return any(
            not each.startswith("--") and any(letter in each[1:].partition("=")[0] for letter in letters)
            for each in self.flags
        )

    def long(self, *names: str) -> bool:
        """Is one of these long flags given, written in full or with a value?"""
        return any(each.partition("=")[0] in names for each in self.flags)

    def option(self, *names: str) -> str | None:
        """The value of an option: `-o x`, `-ox`, `--out x`, `--out=x`. None if it is not given."""
        args = self.args
        for at, each in enumerate(args):
            for name in names:
                if each == name:
                    return args[at + 1] if at + 1 < len(args) else ""
                if name.startswith("--") and each.startswith(name + "="):
                    return each[len(name) + 1 :]
                if not name.startswith("--") and each.startswith(name) and not each.startswith("--"):
                    return each[len(name) :]
        return None

    def where(self, path: str) -> str:
        """A path without `.`, `..`, doubled slashes and the directory changes of the line; home is `~`."""
        if path.startswith("-") and len(path) > 1:
            path = path.partition("=")[2] or path
        if not path.startswith(("/", "~")) and self.cwd:
            path = f"{self.cwd}/{path}"
        path = re.sub(r"^/+", "/", posixpath.normpath(path)) if path else path
        while match := re.match(r"/proc/(?:self|thread-self|\$\$|\d+)/(?:root|task/\d+/root)(?=/|$)", path):
            path = path[match.end() :] or "/"
        return path


def once(ask: Callable[[Call], Result]) -> Callable[[Call], Result]:
    """A question that many rules ask about one call, answered once."""
    key = f"{ask.__module__}.{ask.__name__}"

    def answer(call: Call) -> Result:
        known: dict[str, Result] = call.__dict__
        if key not in known:
            known[key] = ask(call)
        return known[key]

    return answer


def flag(word: str) -> bool:
    return word.startswith("-") and len(word) > 1
