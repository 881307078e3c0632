"""The configuration file: what it sets and what is wrong with it. Contract: config-cli.md §2, §3."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from goclaw.settings.convert import Given
from goclaw.settings.document import LARGEST, Document, Malformed, Place, parse
from goclaw.settings.encryption import Encryption
from goclaw.settings.keys import fields, row_field, snake, spellings, subsection
from goclaw.settings.problems import Problem, nearest, quoted
from goclaw.settings.section import Section
from goclaw.settings.settings import Settings

UNFIT = re.compile(r"[\ud800-\udfff]")


def read(path: Path, raw: bytes | None = None) -> tuple[dict[str, Given], list[Problem]]:
    """What the file sets, by dotted key, and every mistake in its shape. A missing file sets nothing.

    With `raw` that is what it is taken to say.
    """
    try:
        if raw is None:
            with path.open("rb") as file:
                raw = file.read(LARGEST + 1)
        if len(raw) > LARGEST:
            return {}, [Problem("", "the file is larger than 1 MiB")]
        document = parse(raw.decode())
    except (FileNotFoundError, NotADirectoryError):
        return {}, []
    except OSError as error:
        return {}, [Problem("", f"cannot be read: {error.strerror}")]
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return {}, [Problem("", f"not UTF-8 text at line {line}", line)]
    except Malformed as error:
        return {}, [Problem("", f"not JSON5 at line {error.line}: {error}", error.line)]
    reader = _Reader(document, path.name)
    reader.section(Settings, document.value, (), "")
    return reader.given, reader.problems


class _Reader:
    """Walks the file along the types: known keys go to `given`, everything else to `problems`."""

    def __init__(self, document: Document, name: str) -> None:
        self.lines = document.lines
        self.name = name
        self.given: dict[str, Given] = {}
        self.problems = [
            Problem(
                _dotted(place), f"key {quoted(_dotted(place))} is there twice, at lines {first} and {second}", second
            )
            for place, first, second in document.repeated
        ]

    def section(self, kind: type[Section], value: Any, place: Place, prefix: str) -> None:
        if not isinstance(value, dict):
            self._wrong(place, f"{{}}: expected an object, found {_kind_of(value)}")
            return
        known: dict[str, str] = {}  # canonical key → the spelling that was used
        for key, inner in value.items():
            here = (*place, key)
            name = spellings(kind).get(key)
            rows = row_field(kind)
            if snake(key).endswith("dsn"):
                self._wrong(here, "{}: a DSN is a secret and never read from the file, set GOCLAW_POSTGRES_DSN")
            elif kind is Encryption:
                self._wrong(here, "{}: a secret that is never read from the file, set GOCLAW_ENCRYPTION_KEY")
            elif name in known:
                self._wrong(here, f"{{}} is the same key as {quoted(known[name])}, keep one")
            elif name is not None:
                known[name] = key
                self._field(fields(kind)[name].type, inner, here, prefix + name)
            elif rows and kind.ROW_NAMES.fullmatch(key):
                self._field(rows[1], inner, here, prefix + key)
            elif not (key == "$schema" and not place) and snake(key) not in kind.IGNORED:
                wrong = f"unknown key {quoted(_dotted(here))}" + self._at(here)
                suggestion = nearest(snake(key), set(spellings(kind).values()))
                self.problems.append(Problem(_dotted(here), wrong, self.lines.get(here), suggestion))

    def _field(self, kind: Any, value: Any, place: Place, key: str) -> None:
        if value is None:  # null is the same as leaving the key out
            return
        line = self.lines.get(place)
        where = key + self._at(place)
        if inner := subsection(kind):
            self.given[key] = Given(None, where, "", line)  # a row counts even when it sets nothing
            self.section(inner, value, place, key + ".")
        elif isinstance(value, str | dict | list) and not _sound(value):
            self._wrong(place, "{}: expected no NUL, no half characters and no number without end")
        else:
            self.given[key] = Given(value, where, f"{self.name}:{line}", line)

    def _wrong(self, place: Place, message: str) -> None:
        what = (_dotted(place) + self._at(place)) if place else "the file"
        self.problems.append(Problem(_dotted(place), message.replace("{}", what, 1), self.lines.get(place)))

    def _at(self, place: Place) -> str:
        return f" at line {self.lines[place]}" if place in self.lines else ""


def _dotted(place: Place) -> str:
    return ".".join(str(step) for step in place)


def _sound(value: Any) -> bool:
    """It can be written as JSON, and put into a database."""
    match value:
        case str():
            return "\0" not in value and UNFIT.search(value) is None
        case float():
            return math.isfinite(value)
        case dict():
            return all(_sound(key) and _sound(one) for key, one in value.items())
        case list():
            return all(map(_sound, value))
    return True


def _kind_of(value: Any) -> str:
    kinds = {bool: "a truth value", int: "a number", float: "a number", str: "text", list: "a list"}
    return kinds.get(type(value), "null")
