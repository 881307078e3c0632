"""The smallest instance of a schema. Contract: providers.md §16.3 step 2."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goclaw.providers.offline.instance import instance


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "the text"),
        ({"type": "string", "maxLength": 3}, "the"),
        ({"type": "string", "minLength": 10}, "the text--"),
        ({"enum": ["b", "a"]}, "b"),
        ({"const": None}, None),
        ({"type": "integer", "minimum": 3}, 3),
        ({"type": "integer", "exclusiveMinimum": 3}, 4),
        ({"type": "integer", "maximum": -2}, -2),
        ({"type": "number", "minimum": 5, "multipleOf": 4}, 8),
        ({"type": "boolean"}, False),
        ({"type": ["string", "null"]}, None),
        ({"type": "array", "items": {"type": "integer"}}, []),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [0, 0]),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, None),
        ({"allOf": [{"required": ["a"]}, {"properties": {"a": {"type": "integer"}}}], "type": "object"}, {"a": 0}),
        (
            {
                "type": "object",
                "properties": {"a": {"$ref": "#/$defs/point"}, "optional": {"type": "string"}},
                "required": ["a"],
                "$defs": {"point": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}},
            },
            {"a": {"x": 0}},
        ),
        (True, {}),
    ],
)
def test_the_smallest_instance(schema: Any, value: Any):
    assert instance(schema, "the text") == value


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/$defs/missing"},
        {"$ref": "https://elsewhere.example/schema"},
        {
            "$defs": {"n": {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}, "required": ["n"]}},
            "$ref": "#/$defs/n",
        },
        {"type": "number", "multipleOf": 0},
        {"type": "integer", "multipleOf": -2},
        {"type": "integer", "minimum": 1e308, "multipleOf": 1e-308},
        {"type": "string", "minLength": 10**12},
        {"type": "array", "minItems": 10**12},
        {"type": "array", "minItems": 100, "items": {"type": "array", "minItems": 10**9, "items": {"const": "x"}}},
        {
            "$defs": {
                "n": {"properties": {"a": {"$ref": "#/$defs/n"}, "b": {"$ref": "#/$defs/n"}}, "required": ["a", "b"]}
            },
            "$ref": "#/$defs/n",
        },
        {"type": "array", "minItems": 10, "items": {"const": "x" * 200_000}},
        {"type": []},
        {"enum": {"a": 1}},
        {"type": "object", "required": [["a"]]},
        {"type": "object", "required": [False]},
    ],
)
def test_a_schema_without_a_small_instance_is_refused(schema: Any):
    with pytest.raises(ValueError, match="schema"):
        instance(schema, "x")


SHAPES = ["type", "enum", "const", "$ref", "allOf", "anyOf", "oneOf", "properties", "required", "items", "a", "#"]
SIZES = ["minItems", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "multipleOf"]
KEYWORDS = st.sampled_from([*SHAPES, *SIZES, "exclusiveMaximum"])
WORDS = st.sampled_from(["object", "array", "string", "integer", "number", "null", "#", "#/a", "a"])
NUMBERS = st.integers(-10, 10) | st.floats(allow_nan=False) | st.sampled_from([10**9, 1e308, 5e-324, 2**70])
JSON = st.recursive(
    WORDS | NUMBERS | st.booleans() | st.none(),
    lambda part: st.lists(part, max_size=4) | st.dictionaries(KEYWORDS, part, max_size=5),
    max_leaves=30,
)


@given(JSON)
def test_whatever_is_sent_as_a_schema_ends_in_a_value_or_a_refusal(schema: Any):
    with suppress(ValueError):
        value = instance(schema, "x" * 3000)
        assert len(msgspec.json.encode(value)) < 2_000_000
