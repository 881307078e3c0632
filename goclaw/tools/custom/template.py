"""A command with places for values: read once, checked before it is stored, filled so that a value stays one word.

Contract: tools.md §14.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from goclaw.security.shell import simple_commands
from goclaw.security.shell.limits import Budget
from goclaw.security.shell.syntax.grammar import parse
from goclaw.security.shell.syntax.tree import Literal, Simple, Word
from goclaw.security.shell.template import MOST, misplaced, reread
from goclaw.tools.tool import ToolFailed

LONGEST = 131_072  # bytes of a command that is filled
ITEMS = 64  # of a list
BRACES = re.compile(r"\{\{(?:\.?(?P<key>[A-Za-z_][A-Za-z0-9_]*)\}\}|(?P<literal>\"\{\{\"\}\})|(?P<odd>))", re.ASCII)
UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
QUOTES = "remove the quotes around {place}; values are quoted for you, and may stand only where an argument does"
AGAIN = "{place} would be read as code there; hand it to a program that takes it as data"
SCALARS = frozenset({"string", "number", "integer", "boolean"})
Shapes = Mapping[str, Mapping[str, Any]]


class BadTemplate(ValueError):
    """Why a command cannot be stored, for who writes it."""


@dataclass(frozen=True)
class Place:
    """Where a value goes."""

    key: str

    @property
    def shown(self) -> str:
        return f"{{{{.{self.key}}}}}"


@dataclass(frozen=True)
class Template:
    pieces: tuple[str | Place, ...]

    def checked(self, shapes: Shapes) -> None:
        """Whether every place has a parameter and stands where a quoted word is a word. Raises BadTemplate."""
        places = [piece for piece in self.pieces if isinstance(piece, Place)]
        if strange := next((place.key for place in places if place.key not in shapes), ""):
            raise BadTemplate(f"{Place(strange).shown} is not a parameter")
        if len({place.key for place in places}) > MOST:
            raise BadTemplate(f"more than {MOST} different placeholders")
        lexed = [
            piece.replace("{{", "@@") if isinstance(piece, str) else " ".join([piece.shown] * _words(piece, shapes))
            for piece in self.pieces
        ]
        if wrong := misplaced("".join(lexed)):
            raise BadTemplate(QUOTES.format(place=Place(wrong[0]).shown))
        if again := reread("".join(lexed)):
            raise BadTemplate(AGAIN.format(place=Place(again[0]).shown))
        if places:
            _check_programs(self, shapes)

    def filled(self, values: Mapping[str, Any], shapes: Shapes) -> str:
        """The command to run. Raises ToolFailed `invalid_args` for a value no command should see."""
        parts = [piece if isinstance(piece, str) else _text(piece.key, values, shapes) for piece in self.pieces]
        command = "".join(parts)
        if len(command.encode("utf-8", "surrogatepass")) > LONGEST:
            raise ToolFailed("invalid_args", f"with these arguments the command is longer than {LONGEST} bytes")
        return command

    @property
    def sample(self) -> str:
        """The command with harmless values, for those who judge it."""
        return "".join(piece if isinstance(piece, str) else "'1'" for piece in self.pieces)


def read_template(command: str) -> Template:
    """Raises BadTemplate."""
    pieces: list[str | Place] = []
    at = 0
    for found in BRACES.finditer(command):
        if found["odd"] is not None:
            near = command[found.start() : found.start() + 20]
            raise BadTemplate(f'{near!r} is no placeholder: write {{{{.name}}}}, or {{{{"{{{{"}}}} for two braces')
        pieces += [command[at : found.start()], Place(found["key"]) if found["key"] else "{{"]
        at = found.end()
    pieces.append(command[at:])
    return Template(tuple(piece for piece in pieces if piece))


def _text(key: str, values: Mapping[str, Any], shapes: Shapes) -> str:
    value, dashes = values.get(key), shapes.get(key, {}).get("x-allow-dash") is True
    if not isinstance(value, list):
        return _quoted(key, value, dashes)
    if len(value) > ITEMS:
        raise ToolFailed("invalid_args", f"/{key} has more than {ITEMS} items")
    return " ".join(_quoted(f"{key}/{number}", item, dashes) for number, item in enumerate(value))


def _quoted(place: str, value: Any, dashes: bool) -> str:
    if value is None:
        return "''"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    if UNFIT.search(text):
        raise ToolFailed("invalid_args", f"/{place} holds a control character")
    if text.startswith("-") and not dashes:
        raise ToolFailed("invalid_args", f"/{place} begins with a dash and would be read as an option")
    return "'" + text.replace("'", "'\"'\"'") + "'"


def _check_programs(template: Template, shapes: Shapes) -> None:
    """No value may say which program runs, behind `env` or `timeout` neither. A list is two words at least."""
    mark, text = _mark(template), ""
    for piece in template.pieces:
        text += piece if isinstance(piece, str) else " ".join([mark] * _words(piece, shapes))
    named = all(
        any(part.text for part in word.parts if isinstance(part, Literal)) for word in _programs(parse(text, Budget()))
    )
    if not named or any(mark in one.name or not one.name for one in simple_commands(text)):
        raise BadTemplate("it must be plain which program gets a value")


def _programs(node: object) -> Iterator[Word]:
    """The first word of every command: of one that expands to nothing the next would take its place."""
    if isinstance(node, Simple) and node.words:
        yield node.words[0]
    for inner in node if isinstance(node, tuple) else _parts(node):
        yield from _programs(inner)


def _parts(node: object) -> list[object]:
    return [getattr(node, name) for name in node.__struct_fields__] if isinstance(node, msgspec.Struct) else []


def _words(place: Place, shapes: Shapes) -> int:
    return 1 if shapes[place.key].get("type") in SCALARS else 2


def _mark(template: Template) -> str:
    """A word that occurs nowhere in the command."""
    mark = "%value"
    while any(isinstance(piece, str) and mark in piece for piece in template.pieces):
        mark += "_"
    return mark
