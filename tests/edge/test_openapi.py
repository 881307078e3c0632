"""The OpenAPI document has every route and is one: 3.0.3, no dangling reference, no newer words. edge-http.md §1."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct

from goclaw.domain.access import Role
from goclaw.edge.http import completions
from goclaw.edge.http.answers import STATUS
from goclaw.edge.http.openapi import document
from goclaw.edge.http.request import Raw
from goclaw.edge.http.schema import in_openapi
from goclaw.operations.operation import Http, Operation, collect

OPERATIONS = collect("goclaw.operations")
DOCUMENT = msgspec.json.decode(msgspec.json.encode(document(OPERATIONS, [completions.ROUTE], "1.2.3")))

# the words of a Schema Object in OpenAPI 3.0.3 that mean what JSON Schema means by them, and 3.0's own
WORDS = {
    *("title", "multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum", "maxLength", "minLength"),
    *("pattern", "maxItems", "minItems", "uniqueItems", "maxProperties", "minProperties", "required", "enum"),
    *("type", "allOf", "oneOf", "anyOf", "not", "items", "properties", "additionalProperties", "description"),
    *("format", "default", "nullable", "discriminator", "readOnly", "writeOnly", "example", "deprecated"),
}


def assert_schema(schema: dict[str, Any]) -> None:
    if "$ref" in schema:
        assert set(schema) == {"$ref"}
        return
    assert set(schema) <= WORDS, schema
    assert schema.get("type", "object") in ("string", "number", "integer", "boolean", "array", "object")
    assert schema.get("type") != "array" or "items" in schema
    assert type(schema.get("exclusiveMinimum", True)) is bool
    assert type(schema.get("exclusiveMaximum", True)) is bool
    for word in ("allOf", "oneOf", "anyOf"):
        assert schema.get(word, [1])
    for inner in inside(schema):
        assert_schema(inner)


def inside(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from schema.get("properties", {}).values()
    for word in ("allOf", "oneOf", "anyOf"):
        yield from schema.get(word, ())
    for word in ("items", "additionalProperties", "not"):
        if isinstance(schema.get(word), dict):
            yield schema[word]


def entries() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, verbs in DOCUMENT["paths"].items():
        for verb, entry in verbs.items():
            yield path, verb, entry


def test_every_route_is_there() -> None:
    declared = {http.route for operation in OPERATIONS for http in operation.http} | {completions.ROUTE.route}
    assert {f"{verb.upper()} {path}" for path, verb, _ in entries()} == {r.replace("...}", "}") for r in declared}


def test_the_head_of_the_document() -> None:
    assert DOCUMENT["openapi"] == "3.0.3"
    assert DOCUMENT["info"]["version"] == "1.2.3"
    assert set(DOCUMENT) == {"openapi", "info", "paths", "components"}


def test_every_reference_leads_somewhere() -> None:
    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield from ([value["$ref"]] if "$ref" in value else ())
            value = list(value.values())
        for item in value if isinstance(value, list) else ():
            yield from references(item)

    found = set(references(DOCUMENT))
    known = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    assert found <= known
    assert len(found) > 5


def test_every_schema_speaks_the_dialect() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
        assert_schema(schema)
    for _, _, entry in entries():
        for parameter in entry["parameters"]:
            assert_schema(parameter["schema"])
        for content in [entry.get("requestBody", {}), *entry["responses"].values()]:
            for media in content.get("content", {}).values():
                assert_schema(media["schema"])


def test_operation_ids_are_unique_and_every_entry_says_what_it_does() -> None:
    ids = [entry["operationId"] for _, _, entry in entries()]
    assert len(set(ids)) == len(ids)
    for path, _, entry in entries():
        assert entry["summary"], path
        assert entry["tags"], path
        assert all(re.fullmatch(r"[1-5]\d\d", status) for status in entry["responses"])
        assert any(status.startswith("2") for status in entry["responses"])
        assert all(response["description"] for response in entry["responses"].values())


def test_what_a_path_names_is_a_required_parameter_and_no_name_comes_twice() -> None:
    for path, verb, entry in entries():
        named = [p["name"] for p in entry["parameters"] if p["in"] == "path"]
        assert named == re.findall(r"\{(\w+)\}", path)
        assert all(p["required"] for p in entry["parameters"] if p["in"] == "path")
        assert len({p["name"] for p in entry["parameters"]}) == len(entry["parameters"])
        assert ("requestBody" in entry) == (verb != "get")


def test_routes_for_anybody_ask_for_no_credential() -> None:
    roles = {(http.verb.lower(), http.path): http.role for op in OPERATIONS for http in op.http}
    schemes = DOCUMENT["components"]["securitySchemes"]
    for path, verb, entry in entries():
        assert bool(entry["security"]) == (roles.get((verb, path)) is not Role.ANYONE)
        assert all(set(way) <= set(schemes) for way in entry["security"])


def test_errors_have_the_shape_of_their_family() -> None:
    for path, _, entry in entries():
        shape = entry["responses"]["401"]["content"]["application/json"]["schema"]["$ref"]
        expected = "OpenAIError" if path.startswith(("/v1/chat/completions", "/v1/models")) else "Error"
        assert shape.endswith(f"/{expected}")
    assert DOCUMENT["components"]["schemas"]["Error"]["properties"]["code"]["enum"] == sorted(STATUS)


# --- shapes no operation has yet ------------------------------------------------------------------


class Change(Struct):
    id: str
    weight: Annotated[float, Meta(gt=0, le=9)] | None = None
    note: Annotated[str, Meta(max_length=9)] = ""


class Thing(Struct):
    at: datetime
    change: Change | None = None
    parts: tuple[int, str] = (1, "a")


async def change(ctx: Any, ask: Change) -> list[Thing]:
    """Change a thing."""
    raise NotImplementedError


async def page(call: Any, caller: Any) -> Any:
    """Show a page."""


def made(*http: Http) -> dict[str, Any]:
    operation = Operation("things.change", "Change a thing.", change, Change, list[Thing], http=http)
    raw = [Raw("GET /ui/", Role.ANYONE, page), Raw("GET /ui/{path...}", Role.ANYONE, page)]
    return document([operation], raw, "1")


def test_a_body_holds_what_the_path_does_not() -> None:
    entry = made(Http("PATCH /things/{id}", Role.ADMIN, status=202))["paths"]["/things/{id}"]["patch"]
    body = entry["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]) == {"weight", "note"}
    assert "required" not in body
    assert [(p["name"], p["in"]) for p in entry["parameters"]] == [("id", "path")]
    result = entry["responses"]["202"]["content"]["application/json"]["schema"]
    assert result == {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}}


def test_a_query_holds_what_the_path_does_not() -> None:
    entry = made(Http("GET /things/{id}", Role.ADMIN))["paths"]["/things/{id}"]["get"]
    assert [(p["name"], p["in"], p["required"]) for p in entry["parameters"]] == [
        ("id", "path", True),
        ("weight", "query", False),
        ("note", "query", False),
    ]
    assert "requestBody" not in entry


def test_a_function_with_two_routes_has_two_ids_and_pages_take_no_body() -> None:
    paths = made(Http("PUT /things/{id}", Role.ADMIN), Http("POST /things", Role.ADMIN))["paths"]
    entries = [entry for verbs in paths.values() for entry in verbs.values()]
    assert len({entry["operationId"] for entry in entries}) == len(entries) == 4
    assert "requestBody" not in paths["/ui/{path}"]["get"]
    assert paths["/ui/{path}"]["get"]["parameters"][0]["in"] == "path"


def test_a_changed_reply_is_an_object_of_unknown_shape() -> None:
    http = Http("POST /things", Role.ADMIN, reply=lambda result: {"things": result})
    response = made(http)["paths"]["/things"]["post"]["responses"]["200"]
    assert response["content"]["application/json"]["schema"] == {"type": "object"}


def test_two_structs_of_one_name_are_kept_apart() -> None:
    def page_of(name: str) -> type[Struct]:
        return msgspec.defstruct("Page", [(name, str)], module=f"of_{name}")

    one, other = page_of("one"), page_of("other")
    operations = [
        Operation("a.one", "One.", change, one, one, http=(Http("GET /one", Role.ADMIN),)),
        Operation("a.other", "Other.", change, other, other, http=(Http("GET /other", Role.ADMIN),)),
    ]
    paths = document(operations, [], "1")["paths"]
    assert paths["/one"]["get"]["parameters"][0]["name"] == "one"
    assert paths["/other"]["get"]["parameters"][0]["name"] == "other"


PAIR = {"type": "array", "minItems": 2, "maxItems": 2}


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        (int, {"type": "integer"}),
        (int | None, {"type": "integer", "nullable": True}),
        (int | str | None, {"anyOf": [{"type": "integer", "nullable": True}, {"type": "string", "nullable": True}]}),
        (None, {"nullable": True, "enum": [None]}),
        (Annotated[int, Meta(gt=0)], {"type": "integer", "minimum": 0, "exclusiveMinimum": True}),
        (Annotated[float, Meta(lt=1)], {"type": "number", "maximum": 1, "exclusiveMaximum": True}),
        (Literal["x", None], {"enum": [None, "x"], "nullable": True}),
        (bytes, {"type": "string", "format": "byte"}),
        (tuple[int, str], {**PAIR, "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]}}),
        (tuple[()], {"type": "array", "minItems": 0, "maxItems": 0, "items": {}}),
        (list[int | None], {"type": "array", "items": {"type": "integer", "nullable": True}}),
        (dict[str, float | None], {"type": "object", "additionalProperties": {"type": "number", "nullable": True}}),
        (Change | None, {"allOf": [{"$ref": "#/$defs/Change"}], "nullable": True}),
        (Annotated[Change, Meta(description="d")], {"allOf": [{"$ref": "#/$defs/Change"}], "description": "d"}),
        (Any, {}),
    ],
)
def test_newer_words_become_older_ones(newer: Any, older: dict[str, Any]) -> None:
    ((schema,), _) = msgspec.json.schema_components([newer])
    assert in_openapi(schema) == older


def test_a_constant_is_a_choice_of_one() -> None:
    assert in_openapi({"const": 5}) == {"enum": [5]}


leaves = st.sampled_from([int, str, bool, float, bytes, datetime, Change, Thing, Any, Literal["a", "b"]])


def around(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        inner.map(lambda one: list[one])  # type: ignore[valid-type]
        | inner.map(lambda one: dict[str, one])  # type: ignore[valid-type]
        | st.tuples(inner, inner).map(lambda two: tuple[two[0], two[1]])  # type: ignore[valid-type]
        | inner.map(lambda one: one | None)
    )


@given(st.recursive(leaves, around))
def test_any_type_ends_up_in_the_dialect(shape: Any) -> None:
    (schema,), components = msgspec.json.schema_components([shape])
    assert_schema(in_openapi(schema))
    for component in components.values():
        assert_schema(in_openapi(component))
