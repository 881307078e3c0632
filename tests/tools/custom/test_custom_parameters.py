"""Parameters that operators write: what is a schema, and what fits one. Contract: tools.md §14.1, §2 step 5."""

from __future__ import annotations

from typing import Any

import pytest

from goclaw.domain.chat import ToolSpec
from goclaw.tools.arguments import Read, read
from goclaw.tools.custom.parameters import BadSchema, checked, shown
from goclaw.tools.tool import Effect, Tool, ToolFailed

SCHEMA = {
    "properties": {
        "n": {"type": "integer", "minimum": 1},
        "on": {"type": "boolean"},
        "names": {"type": "array", "items": {"type": "string"}},
        "word": {"type": "string", "pattern": "^[a-z]+$"},
        "pattern": {"type": "string", "x-allow-dash": True},
    },
    "required": ["n"],
}


def nested(depth: int) -> dict[str, Any]:
    return {"properties": {"a": nested(depth - 1)}} if depth > 1 else {"type": "string"}


def asked(**arguments: Any) -> Read:
    async def nothing(*_: object) -> str:
        return ""

    spec = ToolSpec(name="t", description="", parameters=shown(checked(SCHEMA)))
    return read(Tool("t", "custom", Effect.UNSAFE, spec, None, nothing), arguments)


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "array"}, "type object"),
        ({"properties": {"a": {"$ref": "#"}}}, r"\$ref"),
        ({"properties": {"a": {"type": "strange"}}}, "properties/a/type"),
        ({"properties": {"a": {"pattern": "("}}}, "pattern"),
        ({"properties": {"a": 1}}, "object"),
        ({"properties": []}, "object"),
        ({"properties": {f"a{n}": {} for n in range(65)}}, "64"),
        (nested(9), "8"),
        ({"description": "a" * 70_000}, "bytes"),
    ],
)
def test_what_is_no_schema_or_could_go_on_for_ever_is_refused(schema: dict[str, Any], why: str) -> None:
    with pytest.raises(BadSchema, match=why):
        checked(schema)


def test_no_parameters_are_an_empty_object_and_eight_levels_are_fine() -> None:
    assert checked({}) == {"type": "object", "properties": {}}
    assert checked(nested(8))["type"] == "object"
    assert "x-allow-dash" not in shown(checked(SCHEMA))["properties"]["pattern"]


def test_near_misses_are_mended_and_strangers_are_named() -> None:
    got = asked(n="5", on="true", names="one", other=1)

    assert got.ask == {"n": 5, "on": True, "names": ["one"]}
    assert got.ignored == ("other",)


@pytest.mark.parametrize(
    ("arguments", "pointer"),
    [
        ({"n": "many"}, "/n"),
        ({"n": 0}, "/n"),
        ({"n": 1, "names": [1]}, "/names/0"),
        ({"n": 1, "word": "A"}, "/word"),
        ({}, "/"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(arguments: dict[str, Any], pointer: str) -> None:
    with pytest.raises(ToolFailed, match=rf" at {pointer}$") as refused:
        asked(**arguments)
    assert refused.value.code == "invalid_args"
