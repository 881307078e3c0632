"""What a model sends, as what a tool takes: near misses are mended, anything else is explained.

Contract: tools.md §2, step 5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from goclaw.tools.tool import Tool, ToolFailed

NAME = 64  # characters of a name worth repeating; tools.md §1.1
SHOWN = 10  # names of arguments that are no parameters
PLACE = re.compile(r" - at `\$(?P<path>[^`]*)`$")


class Read(NamedTuple):
    ask: msgspec.Struct
    ignored: tuple[str, ...]  # arguments that are no parameters: models invent them


def read(tool: Tool, arguments: Mapping[str, Any]) -> Read:
    """Raises ToolFailed `invalid_args` with the place as a JSON pointer."""
    shapes = tool.spec.parameters["properties"]
    known = {name: _listed(value, shapes[name]) for name, value in arguments.items() if name in shapes}
    try:
        ask = msgspec.convert(known, tool.input, strict=False)  # "5" for 5 is fine
    except msgspec.ValidationError as error:
        raise ToolFailed("invalid_args", f"{tool.name}: {_with_pointer(str(error))}") from None
    ignored = sorted(name[:NAME] for name in arguments.keys() - known.keys())[:SHOWN]
    return Read(ask, tuple(ignored))


def _listed(value: Any, shape: dict[str, Any]) -> Any:
    """One thing where a list is wanted is a list of one."""
    return [value] if shape.get("type") == "array" and isinstance(value, str | int | float | bool) else value


def _with_pointer(message: str) -> str:
    found = PLACE.search(message)
    if found is None:
        return message
    pointer = found["path"].replace(".", "/").replace("[", "/").replace("]", "")
    return f"{message[: found.start()]} at {pointer or '/'}"
