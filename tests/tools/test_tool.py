"""Tools are found by being there, and models see what they declare. Contract: tools.md §1.1, §10."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from goclaw.tools.tool import Effect, Tool, ToolContext, collect, equipped, tool


class Point(Struct):
    x: int


class Bell(Struct):
    sound: str


class Draw(Struct):
    to: Point


TOOLS = collect("goclaw.tools")

# tools.md §10, the rows of the tools that exist
PARAMETERS: dict[str, dict[str, dict[str, Any]]] = {
    "read_file": {
        "path": {"type": "string", "minLength": 1, "maxLength": 4096},
        "offset": {"type": "integer", "minimum": 1},
        "limit": {"type": "integer", "minimum": 1, "maximum": 20000},
    },
    "list_files": {
        "path": {"type": "string", "minLength": 1, "maxLength": 4096},
        "recursive": {"type": "boolean", "default": False},
        "max_depth": {"type": "integer", "minimum": 1, "maximum": 10},
        "limit": {"type": "integer", "minimum": 1, "maximum": 5000, "default": 1000},
        "show_hidden": {"type": "boolean", "default": False},
    },
    "datetime": {"timezone": {"type": "string", "maxLength": 64}},
    "cron": {
        "action": {"type": "string", "enum": ["add", "list", "remove", "run", "runs", "status", "update"]},
        "includeDisabled": {"type": "boolean", "default": False},
        "job": {"type": "object"},
        "jobId": {"type": "string", "maxLength": 64},
        "patch": {"type": "object"},
        "runMode": {"type": "string", "enum": ["due", "force"]},
        "limit": {"type": "integer", "minimum": 1, "maximum": 200, "default": 20},
    },
    "heartbeat": {
        "action": {"type": "string", "enum": ["disable", "get", "run", "set"]},
        "every_sec": {"type": "integer", "minimum": 60},
        "prompt": {"type": "string", "maxLength": 8000},
        "active_hours": {"type": "string", "maxLength": 32},
    },
    "exec": {
        "command": {"type": "string", "minLength": 1, "maxLength": 16384},
        "working_dir": {"type": "string", "minLength": 1, "maxLength": 4096},
        "timeout_seconds": {"type": "integer", "minimum": 1, "maximum": 3600},
        "background": {"type": "boolean", "default": False},
    },
    "process": {
        "action": {"type": "string", "enum": ["kill", "list", "log", "poll", "watch_patterns", "write"]},
        "session_id": {"type": "string", "pattern": "^p-[0-9]+$"},
        "offset": {"type": "integer", "minimum": 0, "default": 0},
        "limit": {"type": "integer", "minimum": 1, "maximum": 30000, "default": 1200},
        "timeout_ms": {"type": "integer", "minimum": 0, "maximum": 120000},
        "interval_ms": {"type": "integer", "minimum": 50, "maximum": 5000, "default": 250},
        "patterns": {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 200}, "maxItems": 20},
        "case_sensitive": {"type": "boolean", "default": False},
        "alert_on_exit": {"type": "boolean", "default": True},
        "data": {"type": "string", "maxLength": 65536},
        "signal": {"type": "string", "enum": ["INT", "KILL", "TERM"]},
    },
}


def test_these_tools_exist_and_the_test_knows_them_all() -> None:
    assert set(TOOLS) == set(PARAMETERS)


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_a_tool_shows_the_parameters_of_its_contract(name: str) -> None:
    shown = TOOLS[name].spec.parameters
    assert shown["type"] == "object"
    assert shown["additionalProperties"] is False
    assert set(shown["properties"]) == set(PARAMETERS[name])
    for parameter, promised in PARAMETERS[name].items():
        assert promised.items() <= shown["properties"][parameter].items()


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_a_tool_has_a_name_and_a_description_models_accept(name: str) -> None:
    spec = TOOLS[name].spec
    assert spec.name == name
    assert re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name)
    assert spec.description.strip() == spec.description != ""
    assert "\n" not in spec.description


def test_an_input_inside_of_an_input_keeps_its_definition() -> None:
    @tool(group="test", effect=Effect.UNSAFE, name="draw")
    async def draw(ctx: ToolContext, ask: Draw) -> str:
        """Draw a line."""
        return ""

    declared: Tool = draw.__tool__  # type: ignore[attr-defined]
    parameters = declared.spec.parameters
    assert parameters["properties"]["to"]["$ref"] == "#/$defs/Point"
    assert parameters["$defs"]["Point"]["required"] == ["x"]


async def test_a_tool_gets_what_it_names_and_nothing_else_is_handed_out() -> None:
    @tool(group="test", effect=Effect.PURE)
    async def pressed(ctx: ToolContext, ask: Point, bell: Bell) -> str:
        """Ring."""
        return bell.sound * ask.x

    declared: dict[str, Tool] = {"pressed": pressed.__tool__}  # type: ignore[attr-defined]

    ready = equipped(declared, {Bell: Bell("ding"), str: "never asked for"})
    context: Any = None
    assert await ready["pressed"].fn(context, Point(2)) == "dingding"
    assert set(ready["pressed"].spec.parameters["properties"]) == {"x"}, "models know nothing of it"
    with pytest.raises(LookupError, match="the tool pressed needs Bell"):
        equipped(declared, {})


def test_two_tools_of_one_name_stop_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "two_of_a_name"
    package.mkdir()
    (package / "__init__.py").write_text("")
    source = (
        "from msgspec import Struct\n"
        "from goclaw.tools.tool import Effect, ToolContext, tool\n"
        "class Ask(Struct): pass\n"
        "@tool(group='t', effect=Effect.PURE)\n"
        "async def dig(ctx: ToolContext, ask: Ask) -> str: return ''\n"
    )
    for module in ("one", "other"):
        (package / f"{module}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ValueError, match="declared twice: dig"):
        collect("two_of_a_name")
    for name in [name for name in sys.modules if name.startswith("two_of_a_name")]:
        del sys.modules[name]
