"""What clients send becomes an input or one named refusal. Contract: edge-websocket.md §2 (6, 7), edge-auth.md §13."""

from __future__ import annotations

import string
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct, field

from goclaw.domain.errors import Err, Rejected
from goclaw.domain.texts import LOCALES, text_of
from goclaw.operations.operation import collect
from goclaw.operations.params import decode


class Part(Struct):
    type: Literal["text", "image"]
    text: str | None = None


class Ask(Struct):
    ALIASES: ClassVar = {"session_id": "session_key"}

    session_key: str
    agent_id: str | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    label: Annotated[str, Meta(max_length=5)] = "none"
    stream: bool = False
    weight: float | None = None
    role: Literal["assistant", "system"] = "assistant"
    parts: Annotated[list[Part], Meta(max_length=2)] = []
    facts: dict[str, Any] = {}
    run_async: bool = field(default=False, name="async")


def refusal(given: object, input: type[Struct] = Ask, *, strict: bool = True) -> Err:
    with pytest.raises(Rejected) as rejected:
        decode(input, given, strict=strict)
    return rejected.value.err


def ask(**members: Any) -> Ask:
    return decode(Ask, {"session_key": "s", **members})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({"sessionKey": "s"}, Ask("s"), id="camel"),
        pytest.param({"session_key": "s"}, Ask("s"), id="snake"),
        pytest.param({"sessionId": "s"}, Ask("s"), id="alias-of-the-input"),
        pytest.param({"session_id": "s"}, Ask("s"), id="alias-in-snake"),
        pytest.param({"sessionKey": "s", "agentKey": "a"}, Ask("s", agent_id="a"), id="alias-everywhere"),
        pytest.param({"sessionKey": "s", "agentID": "a"}, Ask("s", agent_id="a"), id="shouted-id"),
        pytest.param({"sessionKey": "s", "async": True}, Ask("s", run_async=True), id="a-word-of-python"),
        pytest.param({"sessionKey": "s", "session_key": "s"}, Ask("s"), id="both-spellings-agree"),
        pytest.param({"sessionKey": "", "session_key": "s"}, Ask("s"), id="an-empty-spelling-gives-way"),
        pytest.param({"session_key": "s", "sessionKey": ""}, Ask("s"), id="an-empty-spelling-does-not-count"),
        pytest.param({"sessionKey": None, "session_key": "s"}, Ask("s"), id="a-null-spelling-does-not-count"),
        pytest.param({"sessionKey": "s", "limit": None}, Ask("s"), id="null-is-absent"),
        pytest.param({"sessionKey": "s", "label": ""}, Ask("s"), id="empty-is-absent-where-optional"),
        pytest.param({"sessionKey": ""}, Ask(""), id="empty-is-empty-where-required"),
        pytest.param({"sessionKey": "s", "what": 1, "": 2, "x" * 10_000: 3}, Ask("s"), id="unknown-is-ignored"),
        pytest.param({"sessionKey": "s", "weight": 1}, Ask("s", weight=1.0), id="a-whole-number-is-a-number"),
        pytest.param(
            {"sessionKey": "s", "facts": {"sessionKey": None}}, Ask("s", facts={"sessionKey": None}), id="deep"
        ),
    ],
)
def test_both_spellings_aliases_and_absence(given: dict[str, Any], expected: Ask) -> None:
    assert decode(Ask, given) == expected


@pytest.mark.parametrize(
    ("given", "key", "name", "expected"),
    [
        ({}, "required", "session_key", None),
        ({"sessionKey": None}, "required", "session_key", None),
        ({"sessionKey": 5}, "wrong_type", "session_key", "str"),
        ({"agent_id": 5}, "wrong_type", "agent_id", "str"),
        ({"agentKey": []}, "wrong_type", "agent_id", "str"),
        ({"limit": "5"}, "wrong_type", "limit", "int"),
        ({"limit": 1.5}, "wrong_type", "limit", "int"),
        ({"limit": True}, "wrong_type", "limit", "int"),
        ({"limit": []}, "wrong_type", "limit", "int"),
        ({"limit": 0}, "invalid", "limit", None),
        ({"limit": -1}, "invalid", "limit", None),
        ({"limit": 201}, "invalid", "limit", None),
        ({"limit": 10**400}, "invalid", "limit", None),
        ({"label": {}}, "wrong_type", "label", "str"),
        ({"label": "longer"}, "invalid", "label", None),
        ({"stream": "true"}, "wrong_type", "stream", "bool"),
        ({"stream": 1}, "wrong_type", "stream", "bool"),
        ({"weight": "1"}, "wrong_type", "weight", "float"),
        ({"weight": 10**400}, "invalid", "weight", None),
        ({"role": "user"}, "invalid", "role", None),
        ({"role": 1}, "wrong_type", "role", "str"),
        ({"role": "`x` - at `$.limit`"}, "invalid", "role", None),
        ({"role": "x" * 100_000}, "invalid", "role", None),
        ({"parts": {}}, "wrong_type", "parts", "array"),
        ({"parts": ["text"]}, "wrong_type", "parts[0]", "object"),
        ({"parts": [{"type": "text"}, {}]}, "required", "parts[1].type", None),
        ({"parts": [{"type": "text", "text": 1}]}, "wrong_type", "parts[0].text", "str"),
        ({"parts": [{"type": "text"}] * 3}, "invalid", "parts", None),
        ({"facts": []}, "wrong_type", "facts", "object"),
        ({"sessionKey": "a\0b"}, "invalid", "session_key", None),
        ({"facts": {"deep": [{"a\0": 1}]}}, "invalid", "facts", None),
        ({"sessionKey": "a", "session_key": "b"}, "ambiguous_param", "session_key", None),
        ({"sessionKey": "a", "sessionId": "b"}, "ambiguous_param", "session_key", None),
        ({"agentId": "a", "agentKey": "b"}, "ambiguous_param", "agent_id", None),
        ({"limit": 1, "Limit": 2}, "ambiguous_param", "limit", None),
    ],
)
def test_a_refusal_names_the_field(given: dict[str, Any], key: str, name: str, expected: str | None) -> None:
    if not {"sessionKey", "session_key"} & given.keys() and key != "required":
        given = {**given, "sessionKey": "s"}
    if name.startswith("parts"):
        given = {**given, "sessionKey": "s"}

    err = refusal(given)

    assert (err.code, err.key, err.details["field"]) == ("INVALID_REQUEST", key, name)
    assert err.details.get("expected") == expected
    reasons = {"required": "required", "wrong_type": "type", "ambiguous_param": "ambiguous_param"}
    assert err.details["reason"] == reasons.get(key, err.details["reason"])
    assert len(text_of(err, "en")) < 400  # a refusal is never much longer than our own words


@pytest.mark.parametrize("given", [None, [], "text", 5, True, 1.5])
def test_parameters_that_are_no_object_are_malformed(given: object) -> None:
    assert refusal(given).key == "malformed"


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [("5", "limit", 5), ("true", "stream", True), ("0", "stream", False), ("1.5", "weight", 1.5), ("", "limit", 50)],
)
def test_a_query_string_may_say_it_in_words(text: str, field: str, value: object) -> None:
    assert getattr(decode(Ask, {"session_key": "s", field: text}, strict=False), field) == value


@pytest.mark.parametrize(
    ("text", "field"), [("five", "limit"), ("0", "limit"), ("1e9", "limit"), ("perhaps", "stream")]
)
def test_a_query_string_is_checked_too(text: str, field: str) -> None:
    assert refusal({"session_key": "s", field: text}, strict=False).details["field"] == field


class Bare(Struct):
    """Fields whose rules msgspec words differently."""

    stamp: msgspec.UnsetType | int = msgspec.UNSET
    ids: Annotated[set[str], Meta(min_length=1)] | None = None
    name: Annotated[str, Meta(pattern="^[a-z]+$")] | None = None
    even: Annotated[int, Meta(multiple_of=2)] | None = None
    fixed: tuple[int, int] | None = None


INPUTS = [Ask, Bare, *dict.fromkeys(operation.input for operation in collect("goclaw.operations"))]
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)


@given(st.data(), st.sampled_from(INPUTS), st.booleans())
def test_no_json_whatever_raises_anything_but_a_refusal_with_a_field(
    data: st.DataObject, input: type[Struct], strict: bool
) -> None:
    fields = [field.encode_name for field in msgspec.structs.fields(input)]
    camel = [
        name.split("_")[0] + string.capwords(name, "_").replace("_", "")[len(name.split("_")[0]) :] for name in fields
    ]
    names = st.sampled_from([*fields, *camel, "agentKey", "session_id", "sessionId"]) | st.text(max_size=5)
    sent = data.draw(values | st.dictionaries(names, values))
    sent = msgspec.json.decode(msgspec.json.encode(sent))  # what really can arrive

    try:
        decoded = decode(input, sent, strict=strict)
    except Rejected as rejected:
        err = rejected.err
        assert err.key == "malformed" or err.details["field"].partition("[")[0].partition(".")[0] in fields
        assert all(text_of(err, locale) for locale in LOCALES)
        msgspec.json.encode(err.details)
    else:
        assert isinstance(decoded, input)
