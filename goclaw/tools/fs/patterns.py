"""Patterns of file names as one linear-time expression: `*`, `?`, `[a-z]`, `{a,b}`, and `**` across directories.

What stands for any character never stands for the dot a name begins with.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

import re2

DOT = "\x01"  # in the place of a dot that begins a name; no path holds it
ANY = rf"[^/{DOT}]"
LEADING = re.compile(r"(^|/)\.")
MEMORY = 8 << 20  # bytes an expression may take; RE2's own default


class Match(Protocol):
    def start(self) -> int: ...


class Expression(Protocol):
    programsize: int  # steps that a byte may take

    def search(self, text: bytes, pos: int = 0, endpos: int = ...) -> Match | None: ...

    def fullmatch(self, text: bytes) -> Match | None: ...


def expression(pattern: bytes, *, case_sensitive: bool = True) -> Expression:
    """One that searches bytes of UTF-8 in linear time; no match holds a newline. Raises ValueError."""
    options = re2.Options()
    options.never_nl, options.log_errors, options.max_mem = True, False, MEMORY
    options.never_capture = True  # each group costs time at every byte
    options.case_sensitive = case_sensitive
    try:
        found: Expression = re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0] if error.args else b""
        raise ValueError(said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)) from None
    return found


def literal(text: bytes) -> bytes:
    """The pattern that matches `text` and nothing else."""
    escaped: bytes = re2.escape(text)
    return escaped


def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a relative path matches. Raises ValueError, which says what is wrong with the pattern."""
    if pattern.startswith("/") or ".." in pattern.split("/"):
        raise ValueError("a pattern is relative and has no '..' in it")
    found = expression(_Translation(pattern).whole().encode("utf-8", "replace"))
    return lambda path: found.fullmatch(LEADING.sub(rf"\1{DOT}", path).encode()) is not None


class _Translation:
    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0

    def whole(self) -> str:
        return self._part(leading=True, inside=False)

    def _part(self, *, leading: bool, inside: bool) -> str:
        """Up to the end, or to the `,` or `}` that ends an alternative. `leading`: a name begins here."""
        out = ""
        while self.at < len(self.pattern):
            sign = self.pattern[self.at]
            if inside and sign in ",}":
                return out
            out += self._step(sign, leading=leading)
            leading = self.pattern[self.at - 1] == "/"
        return out

    def _step(self, sign: str, *, leading: bool) -> str:
        rest = self.pattern[self.at :]
        if leading and rest.startswith("**/"):
            return self._took(3, f"(?:{ANY}+/)*")
        if leading and rest == "**":
            return self._took(2, f"[^{DOT}]+")
        if sign == "*":
            return self._took(1, f"{ANY}*")
        if sign == "?":
            return self._took(1, ANY)
        if sign == "[" and (end := rest.find("]", 3 if rest[1:2] in ("!", "^") else 2)) > 0:
            return self._took(end + 1, _class(rest[1:end]))
        if sign == "{" and _closes(rest):
            return self._alternatives(leading=leading)
        if sign == "\\" and len(rest) > 1:
            return self._took(2, re2.escape(rest[1]))
        return self._took(1, DOT if leading and sign == "." else re2.escape(sign))

    def _alternatives(self, *, leading: bool) -> str:
        found = []
        while self.pattern[self.at] != "}":
            self.at += 1  # the brace or comma before it
            found.append(self._part(leading=leading, inside=True))
        return self._took(1, f"(?:{'|'.join(found)})")

    def _took(self, count: int, expression: str) -> str:
        self.at += count
        return expression


def _class(inner: str) -> str:
    negated = inner[0] in "!^"
    signs = "".join(sign if sign == "-" else re2.escape(sign) for sign in inner[negated:])
    return f"[^/{DOT}{signs}]" if negated else f"[{signs}]"


def _closes(rest: str) -> bool:
    """Whether the brace `rest` begins with is closed."""
    depth = 0
    for at, sign in enumerate(rest):
        escaped = at > 0 and rest[at - 1] == "\\"
        depth += 0 if escaped else (sign == "{") - (sign == "}")
        if depth == 0:
            return True
    return False
