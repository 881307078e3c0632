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
    "write_file": {
        "path": {"type": "string", "minLength": 1, "maxLength": 4096},
        "content": {"type": "string", "maxLength": 5242880},
        "append": {"type": "boolean", "default": False},
        "deliver": {"type": "boolean", "default": False},
    },
    "edit_file": {
        "path": {"type": "string", "minLength": 1, "maxLength": 4096},
        "old_string": {"type": "string", "minLength": 1},
        "new_string": {"type": "string"},
        "replace_all": {"type": "boolean", "default": False},
    },
    "search": {
        "pattern": {"type": "string", "minLength": 1, "maxLength": 1000},
        "path": {"type": "string", "minLength": 1, "maxLength": 4096},
        "glob": {"type": "string"},
        "regex": {"type": "boolean", "default": True},
        "case_sensitive": {"type": "boolean", "default": True},
        "context": {"type": "integer", "minimum": 0, "maximum": 10, "default": 0},
        "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 200},
    },
    "glob": {
        "pattern": {"type": "string", "minLength": 1, "maxLength": 500},
        "path": {"type": "string", "minLength": 1, "maxLength": 4096},
        "limit": {"type": "integer", "minimum": 1, "maximum": 5000, "default": 500},
    },
    "send_file": {
        "path": {"type": "string", "minLength": 1, "maxLength": 4096},
        "caption": {"type": "string", "maxLength": 1024},
    },
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
    "web_search": {
        "query": {"type": "string", "minLength": 1, "maxLength": 400},
        "count": {"type": "integer", "minimum": 1, "maximum": 10, "default": 5},
        "provider": {"type": "string", "enum": ["brave", "duckduckgo", "exa", "perplexity", "tavily"]},
        "freshness": {"type": "string", "enum": ["day", "month", "week", "year"]},
        "country": {"type": "string", "pattern": "^[A-Za-z]{2}$"},
    },
    "web_fetch": {
        "url": {"type": "string", "minLength": 8, "maxLength": 2048},
        "extract": {"type": "string", "enum": ["markdown", "raw", "text"]},
        "max_chars": {"type": "integer", "minimum": 100, "maximum": 200000, "default": 50000},
        "offset": {"type": "integer", "minimum": 0, "default": 0},
    },
    "sessions_list": {
        "limit": {"type": "integer", "minimum": 1, "maximum": 200, "default": 20},
        "active_minutes": {"type": "integer", "minimum": 1},
        "query": {"type": "string", "maxLength": 200},
        "kinds": {"type": "array", "items": {"type": "string"}},
    },
    "sessions_history": {
        "key": {"type": "string", "maxLength": 512},
        "limit": {"type": "integer", "minimum": 1, "maximum": 200, "default": 20},
        "before": {"type": "integer", "minimum": 1},
        "after": {"type": "integer", "minimum": 1},
        "around": {"type": "integer", "minimum": 1},
        "role": {"type": "string", "enum": ["assistant", "system", "tool", "user"]},
        "include_tools": {"type": "boolean", "default": False},
    },
    "sessions_send": {
        "key": {"type": "string", "maxLength": 512},
        "message": {"type": "string", "minLength": 1, "maxLength": 32000},
        "wait": {"type": "boolean", "default": False},
        "timeout": {"type": "integer", "minimum": 1, "maximum": 600, "default": 120},
    },
    "session_status": {"key": {"type": "string", "maxLength": 512}},
    "message": {
        "action": {"type": "string", "enum": ["delete", "edit", "react", "send"]},
        "channel": {"type": "string", "maxLength": 100},
        "target": {"type": "string", "maxLength": 255},
        "message": {"type": "string", "maxLength": 32000},
        "message_id": {"type": "string", "maxLength": 100},
        "emoji": {"type": "string", "maxLength": 16},
        "forward": {"type": "boolean", "default": False},
        "forward_reason": {"type": "string", "maxLength": 500},
    },
    "send_alert": {
        "severity": {"type": "string", "enum": ["critical", "info", "warning"]},
        "title": {"type": "string", "minLength": 1, "maxLength": 200},
        "body": {"type": "string", "maxLength": 4000},
    },
    "gateway": {
        "action": {
            "type": "string",
            "enum": ["actors", "config_get", "config_patch", "logs_tail", "reload", "restart", "status"],
        },
        "path": {"type": "string", "maxLength": 200},
        "value": {},
        "actor": {"type": "string", "maxLength": 200},
        "lines": {"type": "integer", "minimum": 1, "maximum": 500, "default": 100},
    },
    "wait": {
        "seconds": {"type": "number", "minimum": 0.1, "maximum": 300},
        "reason": {"type": "string", "maxLength": 200},
    },
    "system_info": {
        "sections": {
            "type": "array",
            "items": {"type": "string", "enum": ["cpu", "disk", "load", "memory", "os", "runtimes", "uptime"]},
            "uniqueItems": True,
        }
    },
    "remind": {
        "message": {"type": "string", "minLength": 1, "maxLength": 2000},
        "time_expr": {"type": "string", "maxLength": 64},
        "channel": {"type": "string", "maxLength": 100},
        "chat_id": {"type": "string", "maxLength": 255},
    },
    "datetime": {
        "timezone": {"type": "string", "maxLength": 64},
        "format": {"type": "string", "enum": ["human", "iso", "unix"]},
    },
    "exec": {
        "command": {"type": "string", "minLength": 1, "maxLength": 16384},
        "working_dir": {"type": "string", "minLength": 1, "maxLength": 4096},
        "timeout_seconds": {"type": "integer", "minimum": 1, "maximum": 3600},
        "background": {"type": "boolean", "default": False},
    },
    "parallel": {"calls": {"type": "array", "minItems": 1, "maxItems": 20}},
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
