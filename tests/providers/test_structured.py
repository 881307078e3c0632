"""Answers that must fit a schema. Contract: agent-loop.md §16, AL-23; edge-http.md §2.6."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goclaw.domain.chat import ChatOptions
from goclaw.domain.errors import ProviderError
from goclaw.domain.model import Retrying
from goclaw.providers.structured import REFERENCES, Structured, checker, extracted
from tests.fakes.vendors.script import Call, Refuse, Think
from tests.fakes.vendors.script import answer as says
from tests.providers.asking import LOOK_UP, answer, asking, going_on, provider_of

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
GOOD = '{"name": "Ada", "age": 36}'
BAD = '{"name": "Ada", "age": "old"}'
VENDORS = [("openai", "gpt-4o"), ("anthropic", "claude-sonnet-4-5-20250929")]


def shaped(schema=SCHEMA, **more):
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    return ChatOptions(response_format=form, **more)


@pytest.mark.parametrize(("name", "model_name"), VENDORS)
async def test_an_answer_that_fits_is_sent_bare_and_the_vendor_knows_the_schema(farm, name, model_name):
    farm[name].will(says(f"Here you are:\n```json\n{GOOD}\n```\n"))
    async with provider_of(farm[name]) as model:
        said = await answer(Structured(model), asking(model=model_name, options=shaped()))

    assert said.content == GOOD
    assert SCHEMA in (
        farm[name].bodies[0].get("output_config", {}).get("format", {}).get("schema"),
        farm[name].bodies[0].get("response_format", {}).get("json_schema", {}).get("schema"),
    )


@pytest.mark.parametrize(("name", "model_name"), VENDORS)
async def test_what_is_wrong_is_told_twice_and_the_third_answer_counts(farm, name, model_name):
    farm[name].will(says("I would rather talk"), says(Think("hm"), BAD), says(GOOD))
    notes = []
    async with provider_of(farm[name]) as model:
        ask = asking(model=model_name, options=shaped(), tools=(LOOK_UP,))
        said = await answer(Structured(model), ask, tell=notes.append)

    assert said.content == GOOD
    assert [note.attempt for note in notes if isinstance(note, Retrying)] == [2, 3]
    first, second, third = farm[name].bodies
    assert "tools" in first
    assert third.get("tool_choice") in (None, {"type": "none"})
    assert "it is not JSON" in str(second["messages"])
    assert "$.age: 'old' is not of type 'integer'" in msgspec.json.encode(third).decode()
    assert said.usage.completion_tokens > 5  # of all three


async def test_an_answer_that_never_fits_is_an_error_that_says_why(farm):
    farm["openai"].will(says(BAD), says(BAD), says(BAD))
    async with provider_of(farm["openai"]) as model:
        with pytest.raises(ProviderError, match=r"^response_format_failed: \$\.age") as caught:
            await answer(Structured(model), asking(options=shaped()))

    assert caught.value.kind == "format"
    assert farm["openai"].unsaid == 0


async def test_tools_come_first_and_only_the_text_at_the_end_must_fit(farm):
    farm["openai"].will(says("let me look", Call("look_up", {"word": "Ada"})), says(GOOD))
    async with provider_of(farm["openai"]) as model:
        ask = asking(options=shaped(), tools=(LOOK_UP,))
        called = await answer(Structured(model), ask)
        said = await answer(Structured(model), going_on(ask, called, "36"))

    assert called.tool_calls
    assert said.content == GOOD


@pytest.mark.parametrize(
    ("name", "refusal", "remembered"),
    [
        ("openai", "Unsupported parameter: 'response_format' is not supported with this model.", True),
        ("openai", "Invalid schema for response_format 'person': 'minimum' is not permitted.", False),
        ("anthropic", "output_config.format.schema: For 'integer' type, property 'minimum' is not supported", False),
    ],
)
async def test_a_vendor_that_refuses_the_schema_is_told_in_words(farm, name, refusal, remembered):
    model_name = dict(VENDORS)[name]
    farm[name].will(Refuse(400, refusal), says(GOOD), says(GOOD))
    async with provider_of(farm[name]) as model:
        for _ in range(2):
            said = await answer(Structured(model), asking(model=model_name, options=shaped()))

    assert said.content == GOOD
    _, second, third = farm[name].bodies
    assert "response_format" not in second
    assert "output_config" not in second
    assert "fits this schema" in msgspec.json.encode(second).decode()
    assert ("fits this schema" in msgspec.json.encode(third).decode()) == remembered


async def test_any_json_object_will_do_if_that_is_asked_for(farm):
    farm["openai"].will(says("[1]"), says('{"a": [1]}'))
    async with provider_of(farm["openai"]) as model:
        ask = asking(options=ChatOptions(response_format={"type": "json_object"}))
        assert (await answer(Structured(model), ask)).content == '{"a": [1]}'


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "person"}, "the schema is none"),
        ({"patternProperties": {"(a+)+$": {}}}, "patternProperties"),
        ({"description": "x" * 70_000}, "larger than"),
    ],
)
def test_a_schema_that_is_none_is_refused_before_anybody_is_asked(schema, why):
    with pytest.raises(ProviderError, match=why):
        checker(shaped(schema).response_format)


@pytest.mark.parametrize(
    ("schema", "text", "why"),
    [
        ({"$ref": "http://127.0.0.1:1/x"}, "{}", "refers to something that is not in it"),
        ({"$ref": "#"}, "{}", "deeper"),
        ({"type": "array", "items": {"$ref": "#"}}, "[" * 100 + "]" * 100, ""),
        ({"pattern": "(a+)+$"}, '"' + "a" * 60 + '!"', ""),
        (
            {"$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)} | {"d40": {}}}
            | {"$ref": "#/$defs/d0"},
            "{}",
            "deeper",
        ),
        ({"type": "array"}, "[" + "1," * 2**20 + "1]", "longer"),
    ],
)
def test_no_schema_holds_the_house_up(schema, text, why):
    check = checker(shaped(schema).response_format)

    assert check is not None
    said = check(text)
    assert (why in said) if why else said == ""
    assert REFERENCES < 2**20


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (' {"a": 1}\n', '{"a": 1}'),
        ('```\n{"a": 1}\n```\n```json\n{"b": 2}\n```', '{"b": 2}'),
        ('Sure: {"a": "}{"} and more', '{"a": "}{"}'),
        ("I think [1, [2]].", "[1, [2]]"),
        ("nothing here {", "nothing here {"),
    ],
)
def test_json_is_found_in_a_text(text, found):
    assert extracted(text) == found


@given(st.lists(st.sampled_from(["{", "}", "[", "]", '"', "\\", "```json\n", "```", "a", ":", ",", "1"]), max_size=60))
def test_no_text_breaks_the_search_for_json(parts):
    assert isinstance(extracted("".join(parts)), str)
