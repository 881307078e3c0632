"""JSON Schemas as vendors take them. Contract: providers.md §6, PR-22."""

from __future__ import annotations

from goclaw.providers.schema import PLAIN, cleaned
from tests.fakes.vendors.farm import open_farm
from tests.providers.asking import LOOK_UP, answer, asking, provider_of

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$defs": {"place": {"type": "object", "properties": {"city": {"type": "string", "default": "Rome"}}}},
    "properties": {
        "at": {"$ref": "#/$defs/place", "description": "where"},
        "default": {"type": ["string", "null"], "examples": ["x"], "format": "uri"},
        "level": {"type": "integer", "enum": [1, 2, None]},
        "when": {"type": "string", "format": "date-time"},
    },
    "required": ["at", "gone"],
    "additionalProperties": False,
}


async def test_gemini_is_spared_what_it_does_not_read():
    tool = type(LOOK_UP)(name="look_up", description="", parameters=SCHEMA)
    async with open_farm() as farm, provider_of(farm["gemini"]) as model:
        await answer(model, asking(model="gemini-2.5-flash", tools=(tool,)))
        sent = farm["gemini"].bodies[-1]["tools"][0]["function"]["parameters"]

    assert sent == {
        "type": "object",
        "properties": {
            "at": {"type": "object", "properties": {"city": {"type": "string"}}, "description": "where"},
            "default": {"type": "string", "description": "(may be null)"},
            "level": {"type": "string", "enum": ["1", "2"]},
            "when": {"type": "string", "format": "date-time"},
        },
        "required": ["at"],
    }


def test_others_keep_all_but_references():
    clean = cleaned(SCHEMA)

    assert clean["properties"]["at"]["properties"]["city"] == {"type": "string", "default": "Rome"}
    assert clean["properties"]["default"]["format"] == "uri"
    assert clean["additionalProperties"] is False
    assert "$defs" not in clean


def test_a_circle_of_references_has_an_end():
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}

    for drop in ((), PLAIN):
        assert cleaned({"$defs": {"node": node}, "properties": {"head": {"$ref": "#/$defs/node"}}}, drop)


def test_a_reference_that_leads_nowhere_accepts_anything():
    assert cleaned({"properties": {"a": {"$ref": "https://elsewhere.example/x"}}})["properties"] == {"a": {}}
