"""A configuration text as values, and the line of every key in it."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import pyjson5

LARGEST = 1024 * 1024  # bytes; config-cli.md §2
DEEPEST = 32  # nested objects and lists; config-cli.md §2

Place = tuple[str | int, ...]  # the keys and list positions that lead to a value

WORD = re.compile(  # comment, string, bracket or punctuation, anything else
    r"""//[^\n\r\u2028\u2029]*|/\*.*?\*/|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[{}\[\],:]|[^\s\ufeff{}\[\],:"'/]+""",
    re.DOTALL,
)


class Malformed(ValueError):
    """Not JSON5. `line` counts from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


class Document(NamedTuple):
    value: Any
    lines: dict[Place, int]
    repeated: list[tuple[Place, int, int]]  # a key, its first line, the line of its second


def parse(text: str) -> Document:
    """Read JSON5. Raises Malformed for anything else, for a second root and for more than 32 levels."""
    try:
        value = pyjson5.decode(text, maxdepth=DEEPEST)
    except pyjson5.Json5NestingTooDeep as error:
        raise Malformed(f"nested deeper than {DEEPEST} levels", _line(text, error)) from None
    except pyjson5.Json5DecoderException as error:
        raise Malformed(_readable(error), _line(text, error)) from None
    return Document(value, *_locate(text))


def _locate(text: str) -> tuple[dict[Place, int], list[tuple[Place, int, int]]]:
    """Find the line of every key of a text that is already known to be JSON5.

    Not a second parser: it follows brackets and commas, decides nothing about values, and leaves the decoding
    of keys to the first. It exists because pyjson5 tells neither positions nor repeated keys.
    """
    lines: dict[Place, int] = {}
    repeated: list[tuple[Place, int, int]] = []
    place: list[str | int] = []
    opened: list[str] = []
    before, line, counted = "", 1, 0
    for match in WORD.finditer(text):
        word = match[0]
        if word.startswith(("//", "/*")):
            continue
        if word in "{[":
            opened.append(word)
            place.append(0)
        elif word in "}]":
            opened.pop()
            place.pop()
        elif word == "," and opened[-1] == "[":
            place[-1] = int(place[-1]) + 1
        elif before in ("{", ",") and word not in ",:" and opened[-1] == "{":
            line += text.count("\n", counted, match.start())
            counted = match.start()
            place[-1] = next(iter(pyjson5.decode("{" + word + ":0}")))
            key = tuple(place)
            if key in lines and not any(key[: len(outer)] == outer for outer, _, _ in repeated):
                repeated.append((key, lines[key], line))
            lines[key] = line
        before = word
    return lines, repeated


def _line(text: str, error: pyjson5.Json5DecoderException) -> int:
    near = re.search(r"near (\d+)", str(error.args[0]))
    return text.count("\n", 0, max(0, int(near[1]) - 1) if near else 0) + 1


def _readable(error: pyjson5.Json5DecoderException) -> str:
    text = re.sub(r"( starting)? near \d+|\bb(?=')", "", str(error.args[0]))
    return re.sub(r"U\+([0-9a-f]{4,6})", lambda match: ascii(chr(int(match[1], 16))), text)
