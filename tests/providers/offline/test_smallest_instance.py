"""The smallest instance of a schema. Contract: providers.md §16.3 step 2."""

from __future__ import annotations

from typing import Any

import pytest

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
    ],
)
def test_a_schema_without_a_finite_instance_is_refused(schema: Any):
    with pytest.raises(ValueError, match="schema"):
        instance(schema, "x")
