"""One value of the file, a variable or a flag, turned into the type of its field. Contract: config-cli.md §2, §5."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Struct, inspect

from goclaw.settings.problems import nearest, quoted
from goclaw.settings.section import Id, Secret

WORDS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}  # milliseconds
SPANS = ("_sec", "_ms", "_delay", "_timeout", "_ttl")  # how the names of spans of time end
ENTRIES = 1000  # of a map
NUMBER = re.compile(r"[+-]?\d{1,18}(\.\d{1,18})?", re.ASCII)
DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,6})?) ?(ms|s|m|h)", re.ASCII)


class Given(Struct, frozen=True):
    """A value somebody set. `where` is how an error names the place, `origin` how `config show` does.

    `text` marks what came as text (variable, reference, flag) and may stand for a number or a list.
    `hidden` keeps the value out of messages: it came out of a variable that may be a secret.
    """

    value: Any
    where: str
    origin: str
    line: int | None = None
    text: bool = False
    hidden: bool = False


class Unfit(ValueError):
    """The value does not fit its field. The message says expected and found, never a secret."""

    def __init__(self, message: str, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.suggestion = suggestion


def convert(name: str, kind: Any, given: Given, variables: Mapping[str, str]) -> Any:
    """`given.value` as `kind`. Raises Unfit. `variables` fill `${NAME}` and `~` in paths."""
    value = _from_text(kind, given.value) if given.text else given.value
    if isinstance(value, str):
        value = _amount(name, value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError  # ±Infinity and NaN are JSON5, but no setting
        if get_origin(plain(kind)) is dict:
            return _map(get_args(plain(kind))[1], value, variables)
        return msgspec.convert(value, kind, dec_hook=lambda wanted, raw: _special(wanted, raw, variables))
    except Unfit:
        raise
    except ValueError as error:  # includes msgspec.ValidationError
        if isinstance(error.__cause__, Unfit):
            raise error.__cause__ from None
        hidden = given.hidden or _is_secret(kind)
        suggestion = nearest(value, _choices(kind)) if isinstance(value, str) and not hidden else None
        raise Unfit(f"expected {expected(kind)}, found {_found(value, hidden)}", suggestion) from None


def _map(kind: Any, value: Any, variables: Mapping[str, str]) -> dict[str, Any]:
    """An object of named entries, each a `kind`. Raises Unfit, which names the entry."""
    if not isinstance(value, dict) or len(value) > ENTRIES:
        raise Unfit(f"expected an object of at most {ENTRIES} entries, found {_found(value, False)}")
    entries = {}
    for name, entry in value.items():
        try:
            entries[name] = msgspec.convert(entry, kind, dec_hook=lambda wanted, raw: _special(wanted, raw, variables))
        except msgspec.ValidationError as error:
            raise Unfit(f"entry {quoted(name)}: {error}") from None
    return entries


def expand(path: str, variables: Mapping[str, str]) -> Path:
    """An absolute path: `~` and `${NAME}` filled in. Raises Unfit for an unknown name."""

    def fill(match: re.Match[str]) -> str:
        if match[1] not in variables:
            raise Unfit(f"variable {match[1]} is not set")
        return variables[match[1]]

    filled = re.sub(r"\$\{(\w+)\}", fill, path)
    if not filled or "\0" in filled:
        raise Unfit("expected a path, found " + quoted(path))
    if filled == "~" or filled.startswith("~/"):
        home = variables.get("HOME") or os.path.expanduser("~")
        if home == "~":  # no variable and no entry in the password file
            raise Unfit("~ has no meaning here: set HOME or GOCLAW_HOME")
        filled = home + filled[1:]
    return Path(filled).absolute()


def expected(kind: Any) -> str:
    """What a field takes, in words: "a whole number from 0 to 65535"."""
    choices = _choices(kind)
    return "one of " + ", ".join(choices) if choices else _describe(inspect.type_info(kind))


def _describe(info: inspect.Type) -> str:
    match info:
        case inspect.Metadata(type=inner):
            return _describe(inner)
        case inspect.UnionType(types=(inner, inspect.NoneType())):
            return _describe(inner)
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType(ge=low, le=high) | inspect.FloatType(ge=low, le=high):
            word = "a whole number" if isinstance(info, inspect.IntType) else "a number"
            return word + (
                f" from {low} to {high}" if low is not None else f" up to {high}" if high is not None else ""
            )
        case inspect.VarTupleType(item_type=item):
            return f"a list of {_describe(item)}"
        case inspect.CustomType(cls=cls):
            return "a path" if cls is Path else "text"
        case inspect.StrType(max_length=longest):
            return "text" + (f" of at most {longest} characters" if longest else "")
    raise AssertionError(f"no words for {info}")


def _found(value: Any, hidden: bool) -> str:
    match value:
        case None:
            return "null"
        case bool():
            kind, shown = "a truth value", str(value).lower()
        case int() | float():
            kind, shown = (
                "a number",
                "a very large number" if isinstance(value, int) and abs(value) > 1e18 else str(value),
            )
        case str():
            kind, shown = "text", quoted(value)
        case list() | tuple():
            return "a list"
        case _:
            return "an object"
    return kind if hidden else shown


def _special(wanted: type, raw: Any, variables: Mapping[str, str]) -> Any:
    if wanted is Id and isinstance(raw, int) and not isinstance(raw, bool):
        return Id(raw)
    if not isinstance(raw, str):
        raise ValueError
    if wanted is Path:
        return expand(raw, variables)
    return wanted(raw.strip())  # a token of blanks is no token (edge-auth.md §3)


def _from_text(kind: Any, text: str) -> Any:
    """What text stands for where a `kind` is wanted; text that stands for nothing stays and fails later."""
    bare = plain(kind)
    stripped = text.strip()
    if bare is bool:
        return WORDS.get(stripped.lower(), text)
    if bare in (int, float) and (number := NUMBER.fullmatch(stripped)):
        return float(stripped) if number[1] else int(stripped)
    if get_origin(bare) is tuple:
        return [item.strip() for item in text.split(",") if item.strip()]
    return stripped.lower() if get_origin(bare) is Literal else text


def _amount(name: str, text: str) -> str | float:
    """A duration such as "5m" in the unit of the key (`_ms`, else seconds); any other text stays."""
    duration = DURATION.fullmatch(text.strip()) if name.endswith(SPANS) else None
    if not duration:
        return text
    return float(duration[1]) * UNITS[duration[2]] / (1 if name.endswith("_ms") else 1000)


def plain(kind: Any) -> Any:
    """The type itself, without what is said about it and without that it may be absent."""
    if get_origin(kind) is Annotated or (get_origin(kind) in (Union, UnionType) and NoneType in get_args(kind)):
        return plain(get_args(kind)[0])
    return kind


def _is_secret(kind: Any) -> bool:
    return plain(kind) is Secret


def _choices(kind: Any) -> tuple[str, ...]:
    return get_args(plain(kind)) if get_origin(plain(kind)) is Literal else ()
