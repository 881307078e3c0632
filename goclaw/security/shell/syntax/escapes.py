"""What a backslash begins in `$'…'` and in the formats of `printf` and `echo -e`."""

from __future__ import annotations

import re

ANSI = re.compile(r"\\(?:x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})|U([0-9A-Fa-f]{1,8})|([0-7]{1,3})|c(.)|(.))", re.DOTALL)
SHORT = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b", "f": "\f", "v": "\v"}


def unescape(text: str) -> str:
    """The value of `$'text'`; also of the formats of `printf` and `echo -e`."""

    def one(match: re.Match[str]) -> str:
        hexadecimal, short, long, octal, control, other = match.groups()
        number = hexadecimal or short or long
        if number is not None:
            return chr(int(number, 16)) if int(number, 16) < 0x110000 else ""
        if octal is not None:
            return chr(int(octal, 8) & 0xFF)
        if control is not None:
            return chr(ord(control) & 0x1F)
        return SHORT.get(other, other if other in "\\'\"?" else "\\" + other)

    return ANSI.sub(one, text)
