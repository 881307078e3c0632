"""Puts given values into their sections, field by field, so that one bad value does not hide the next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import FieldInfo

from goclaw.settings.convert import Given, Unfit, convert, expand
from goclaw.settings.keys import default_of, fields, row_field, spellings, subsection
from goclaw.settings.problems import Problem
from goclaw.settings.section import Section

S = TypeVar("S", bound=Section)


class Builder:
    """Makes a section from dotted keys. `variables` fill `${NAME}` in paths; `problems` collects what does not fit."""

    def __init__(self, given: Mapping[str, Given], variables: Mapping[str, str]) -> None:
        self.given = given
        self.variables = dict(variables)
        self.problems: list[Problem] = []

    def section(self, kind: type[S], prefix: str = "") -> S:
        values: dict[str, Any] = {}
        for name, field in fields(kind).items():
            if inner := subsection(field.type):
                values[name] = self.section(inner, f"{prefix}{name}.")
            elif (rows := row_field(kind)) and rows[0] == name:
                values[name] = {row: self.section(rows[1], f"{prefix}{row}.") for row in self._rows(kind, prefix)}
            else:
                values[name] = self.value(prefix + name, field)
        return kind(**values)

    def value(self, key: str, field: FieldInfo) -> Any:
        """What was given, else the default; a default path is expanded like a given one."""
        if given := self.given.get(key):
            try:
                return convert(field.name, field.type, given, self.variables)
            except Unfit as unfit:
                self.problems.append(Problem(key, f"{given.where}: {unfit}", given.line, unfit.suggestion))
        default = default_of(field)
        return expand(str(default), self.variables) if isinstance(default, Path) else default

    def _rows(self, kind: type[Section], prefix: str) -> list[str]:
        names = {key[len(prefix) :].split(".")[0] for key in self.given if key.startswith(prefix)}
        return sorted(names - set(spellings(kind).values()))
