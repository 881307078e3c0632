"""Tools are found by being there, and models see what they declare. Contract: tools.md §1.1, §10."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from msgspec import Struct

from goclaw.tools.groups import GROUPS
from goclaw.tools.tool import Effect, Tool, ToolContext, collect, equipped, tool


class Point(Struct):
    x: int


class Bell(Struct):
    sound: str


class Draw(Struct):
    to: Point


TOOLS = collect("goclaw.tools")

CONTRACT = {
    row["name"]: row
    for row in map(json.loads, (Path(__file__).parent / "contract.jsonl").read_text(encoding="utf-8").splitlines())
}  # tools.md §10: the groups fs, runtime, web, sessions, messaging, automation
LATER = {
    "skill_exec",  # with skills
}


def bare(shape: Any, definitions: dict[str, Any]) -> Any:
    """A schema without what is for readers, in one order and in one piece."""
    if isinstance(shape, list):
        return [bare(each, definitions) for each in shape]
    if not isinstance(shape, dict):
        return shape
    if "$ref" in shape:
        return bare({**definitions[shape["$ref"].rpartition("/")[2]], "title": ""}, definitions)
    kept = {key: value for key, value in shape.items() if key not in ("title", "$defs") and not said(key, value)}
    return {
        key: sorted(value) if key in ("enum", "required") else bare(value, definitions) for key, value in kept.items()
    }


def said(key: str, value: Any) -> bool:
    return key == "description" and isinstance(value, str)


def test_t1_every_tool_of_the_contract_is_there_and_no_other() -> None:
    """T1. The names of the whole product are 77; of its groups that exist all but those of later subjects."""
    assert set(TOOLS) == set(CONTRACT) - LATER


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_t1_a_tool_shows_exactly_the_parameters_of_its_contract(name: str) -> None:
    """T1. A valid schema, and the same as the contract's: names, types, bounds, defaults, what is required."""
    shown = TOOLS[name].spec.parameters
    Draft202012Validator.check_schema(shown)
    wanted = {"required": [], **CONTRACT[name]["parameters"]}
    assert bare(shown, shown.get("$defs", {})) == bare(wanted, {})


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_a_tool_is_of_its_group_and_class(name: str) -> None:
    """Only tools of class R may run beside others (tools.md §1.1)."""
    tool, row = TOOLS[name], CONTRACT[name]
    assert (tool.group, name in GROUPS[tool.group]) == (row["group"], True)
    assert row["class"] == "R" or not tool.parallel


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
