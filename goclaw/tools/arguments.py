"""What a model sends, as what a tool takes: near misses are mended, anything else is explained.

Contract: tools.md §2, step 5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from goclaw.tools.custom import parameters
from goclaw.tools.tool import Tool, ToolFailed

NAME = 64  # characters of a name worth repeating; tools.md §1.1
SHOWN = 10  # names of arguments that are no parameters
PLACE = re.compile(r" - at `\$(?P<path>[^`]*)`$")


class Read(NamedTuple):
    ask: Any  # a struct, or the values themselves of a tool that has none
    ignored: tuple[str, ...]  # arguments that are no parameters: models invent them


def read(tool: Tool, arguments: Mapping[str, Any]) -> Read:
    """Raises ToolFailed `invalid_args` with the place as a JSON pointer."""
    shapes = tool.spec.parameters["properties"]
    known = {name: _listed(value, shapes[name]) for name, value in arguments.items() if name in shapes}
    if tool.input is None:
        known = {name: parameters.mended(value, shapes[name]) for name, value in known.items()}
        if wrong := parameters.trouble(tool.spec.parameters, known):
            raise ToolFailed("invalid_args", f"{tool.name}: {wrong[1]} at {wrong[0]}")
        return Read(known, _ignored(arguments, known))
    try:
        ask = msgspec.convert(known, tool.input, strict=False)  # "5" for 5 is fine
    except msgspec.ValidationError as error:
        raise ToolFailed("invalid_args", f"{tool.name}: {_with_pointer(str(error))}") from None
    return Read(ask, _ignored(arguments, known))


def _ignored(arguments: Mapping[str, Any], known: dict[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(name[:NAME] for name in arguments.keys() - known.keys())[:SHOWN])


def _listed(value: Any, shape: dict[str, Any]) -> Any:
    """One thing where a list is wanted is a list of one."""
    return [value] if shape.get("type") == "array" and isinstance(value, str | int | float | bool) else value


def _with_pointer(message: str) -> str:
    found = PLACE.search(message)
    if found is None:
        return message
    pointer = found["path"].replace(".", "/").replace("[", "/").replace("]", "")
    return f"{message[: found.start()]} at {pointer or '/'}"
