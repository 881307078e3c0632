"""Frames of protocol v3, good and bad. Contract: edge-websocket.md §1.1, §2; edge-auth.md §13."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goclaw.domain.errors import exhausted, not_found, unavailable
from goclaw.edge.ws.frames import BadFrame, deeper_than, event, parse, refusal, response


def frame(**members: Any) -> str:
    return json.dumps({"type": "req", "id": "1", "method": "health", **members})


def bad(text: str) -> BadFrame:
    with pytest.raises(BadFrame) as found:
        parse(text)
    return found.value


def nested(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


@pytest.mark.parametrize("id", ["1", "x" * 128, "id with spaces", "名", 0, -5, 2**70, int("9" * 128)])
def test_a_request_keeps_its_id_as_it_was(id: str | int) -> None:
    request = parse(frame(id=id, params={"a": 1}))
    assert (request.id, request.method, request.params) == (id, "health", {"a": 1})
    assert type(request.id) is type(id)
    assert json.loads(response(request.id, {}))["id"] == id


@pytest.mark.parametrize("params", [{}, {"params": None}, {"params": {}}, {"unknown": [1], "payload": 5}])
def test_parameters_may_be_absent_and_unknown_members_are_ignored(params: dict[str, Any]) -> None:
    assert parse(frame(**params)).params == {}


def test_of_two_members_with_one_name_the_last_counts() -> None:
    request = parse('{"type":"req","id":"1","id":"2","method":"a","method":"b","params":{"x":1,"x":2}}')
    assert (request.id, request.method, request.params) == ("2", "b", {"x": 2})


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "{",
        "null",
        "5",
        "[]",
        '"req"',
        "{}x",
        '{"a":NaN}',
        '{"a":1e400}',
        '{"a":' + "1" * 5000 + "}",
        '{"a":"\\ud800"}',
        '{"a":"\ud800"}',
        "{'a':1}",
        "[" * 100_000,
        '{"a":' * 50_000,
        "[" * 5_000 + "]" * 5_000,
        "\ufeff{}",
        '{"a":"\n"}',
    ],
)
def test_what_is_no_json_object_is_malformed(text: str) -> None:
    found = bad(text)
    assert (found.id, found.err.key, found.err.details["reason"]) == ("", "malformed", "malformed")


@pytest.mark.parametrize("type", [None, "", "res", "event", "REQ", 1, ["req"]])
def test_only_requests_come_from_clients(type: Any) -> None:
    found = bad(frame(type=type))
    assert (found.id, found.err.details["reason"]) == ("", "unexpected frame type")


@pytest.mark.parametrize("id", [None, "", True, False, 1.5, [], {}, "x" * 129, int("9" * 129), -int("9" * 128)])
def test_an_id_that_cannot_be_one_is_answered_with_an_empty_one(id: Any) -> None:
    found = bad(frame(id=id))
    assert (found.id, found.err.code, found.err.details["field"]) == ("", "INVALID_REQUEST", "id")


@pytest.mark.parametrize(
    ("members", "field", "reason"),
    [
        ({"method": None}, "method", "required"),
        ({"method": ""}, "method", "required"),
        ({"method": 5}, "method", "type"),
        ({"method": "x" * 129}, "method", "longer than 128 characters"),
        ({"params": []}, "params", "type"),
        ({"params": "a"}, "params", "type"),
        ({"params": False}, "params", "type"),
        ({"params": 0}, "params", "type"),
        ({"params": nested(64)}, "params", "nested deeper than 64 levels"),
        ({"other": nested(64)}, "params", "nested deeper than 64 levels"),
    ],
)
def test_a_bad_member_is_answered_to_the_request(members: dict[str, Any], field: str, reason: str) -> None:
    found = bad(frame(id=7, **members))
    assert (found.id, found.err.details["field"], found.err.details["reason"]) == (7, field, reason)


def test_sixty_three_levels_below_the_frame_are_fine() -> None:
    assert parse(frame(params=nested(63))).params == nested(63)


@given(st.recursive(st.none() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_depth_is_counted_as_recursion_would(value: Any) -> None:
    def depth(value: Any) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    assert [deeper_than(value, levels) for levels in range(6)] == [depth(value) > levels for levels in range(6)]


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["type", "id", "method", "params"]), inner),
).map(json.dumps))  # fmt: skip
def test_no_text_whatever_raises_anything_but_a_bad_frame(text: str) -> None:
    try:
        parse(text)
    except BadFrame as found:
        answer = json.loads(refusal(found.id, found.err, "en"))
    else:
        return
    assert answer["error"]["code"] == "INVALID_REQUEST"


def test_a_refusal_says_what_when_and_whether_to_try_again() -> None:
    assert json.loads(refusal("1", not_found("agent", "x"), "vi")) == {
        "type": "res",
        "id": "1",
        "ok": False,
        "error": {
            "code": "NOT_FOUND",
            "message": "không tìm thấy agent: x",
            "details": {"kind": "agent", "id": "x"},
        },
    }
    error = json.loads(refusal(1, exhausted("queue_full"), "en"))["error"]
    assert error["retryable"] is True
    assert "retryAfterMs" not in error
    assert json.loads(refusal(1, unavailable("store", 2.5), "en"))["error"]["retryAfterMs"] == 2500


def test_an_event_has_no_more_members_than_listed() -> None:
    assert json.loads(event("tick", {"ts": 1}, 5, stateVersion={"health": 1})) == {
        "type": "event",
        "event": "tick",
        "payload": {"ts": 1},
        "seq": 5,
        "stateVersion": {"health": 1},
    }
    assert set(json.loads(event("tick", {}, 1))) == {"type", "event", "payload", "seq"}
    assert json.loads(response("1", {"a": 1})) == {"type": "res", "id": "1", "ok": True, "payload": {"a": 1}}
