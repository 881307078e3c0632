"""Refusals as HTTP responses, native and OpenAI's. Contract: edge-http.md §0.3, edge-auth.md §2.2."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from goclaw.domain.errors import (
    Err,
    ProviderError,
    agent_timeout,
    already_exists,
    exhausted,
    failed_precondition,
    forbidden,
    internal,
    invalid,
    malformed,
    not_found,
    provider_failed,
    role_too_low,
    too_large,
    unauthorized,
    unavailable,
)
from goclaw.edge.http.answers import json_response, refusal_response

WRONG_VERB = Err("INVALID_REQUEST", "wrong_verb", {"reason": "wrong_verb", "path": "/", "verb": "X", "allow": "GET"})
BUSY = provider_failed(ProviderError("overloaded", "busy", retry_after=9))


async def refused(err: Err, path: str = "/v1/agents", locale: str = "en") -> tuple[int, dict[str, Any], dict[str, str]]:
    response = refusal_response(err, path=path, locale=locale, request_id="r1")
    assert response.headers["Content-Type"] == "application/json"
    return response.status_code, msgspec.json.decode(await response.get_data(as_text=False)), dict(response.headers)


@pytest.mark.parametrize(
    ("err", "status", "openai"),
    [
        (invalid("n", "unsupported_value"), 400, ("invalid_request_error", "n", "unsupported_value")),
        (invalid("n", "expected `int` >= 1"), 400, ("invalid_request_error", "n", "invalid_request")),
        (malformed("JSON body"), 400, ("invalid_request_error", None, "malformed")),
        (unauthorized("bad_credential"), 401, ("authentication_error", None, "unauthorized")),
        (unauthorized("unauthenticated"), 401, ("authentication_error", None, "unauthorized")),
        (role_too_low("x", "admin"), 403, ("permission_error", None, "role")),
        (forbidden("origin"), 403, ("permission_error", None, "origin")),
        (not_found("agent", "x"), 404, ("not_found_error", None, "not_found")),
        (WRONG_VERB, 405, ("invalid_request_error", None, "wrong_verb")),
        (already_exists("agent", "x"), 409, ("invalid_request_error", None, "already_exists")),
        (failed_precondition("cycle"), 409, ("invalid_request_error", None, "cycle")),
        (too_large(1024), 413, ("invalid_request_error", None, "too_large")),
        (exhausted("queue_full", 3), 429, ("rate_limit_error", None, "queue_full")),
        (exhausted("mailbox_full", 1), 503, ("server_error", None, "mailbox_full")),
        (exhausted("capacity", 1), 503, ("server_error", None, "capacity")),
        (unavailable("store"), 503, ("server_error", None, "store")),
        (BUSY, 502, ("server_error", None, "provider_error")),
        (agent_timeout(600), 504, ("server_error", None, "timeout")),
        (internal("e1"), 500, ("server_error", None, "internal")),
        (Err("SOMETHING_NEW", "internal"), 500, ("server_error", None, "something_new")),
    ],
)
async def test_a_refusal_has_its_status_in_both_shapes(
    err: Err, status: int, openai: tuple[str, str | None, str]
) -> None:
    native_status, native, _ = await refused(err)
    openai_status, shaped, _ = await refused(err, path="/v1/chat/completions")

    assert native_status == openai_status == status
    assert native["code"] == ("UPSTREAM_ERROR" if status == 502 else err.code)
    assert native["request_id"] == "r1"
    assert isinstance(native["error"], str)
    error = shaped["error"]
    assert (error["type"], error["param"], error["code"]) == openai
    assert set(error) == {"message", "type", "param", "code"}


async def test_details_are_sent_but_never_what_was_wrong_with_a_credential() -> None:
    assert (await refused(not_found("agent", "x")))[1]["details"] == {"kind": "agent", "id": "x"}
    bodies = [(await refused(unauthorized(reason)))[1] for reason in ("bad_credential", "expired", "revoked")]
    assert bodies == [{"error": "unauthorized", "code": "UNAUTHORIZED", "request_id": "r1"}] * 3


async def test_a_challenge_says_whether_something_was_shown() -> None:
    assert (await refused(unauthorized("unauthenticated")))[2]["WWW-Authenticate"] == 'Bearer realm="goclaw"'
    shown = (await refused(unauthorized("bad_credential")))[2]["WWW-Authenticate"]
    assert shown == 'Bearer realm="goclaw", error="invalid_token"'
    assert "WWW-Authenticate" not in (await refused(forbidden("role")))[2]


@pytest.mark.parametrize(
    ("err", "seconds"),
    [
        (exhausted("queue_full", 0.2), "1"),
        (exhausted("auth_blocked", 59.1), "60"),
        (exhausted("queue_full"), None),
        (unavailable("store", 2.0), "2"),
        (unavailable("quarantined", 300.0), "30"),
        (BUSY, None),
        (invalid("n", "x"), None),
    ],
)
async def test_when_to_come_back_is_said_in_whole_seconds(err: Err, seconds: str | None) -> None:
    assert (await refused(err))[2].get("Retry-After") == seconds


async def test_a_cursor_that_is_too_old_has_a_code_of_its_own() -> None:
    status, body, _ = await refused(failed_precondition("replay_gap"))

    assert (status, body["code"], body["details"]["reason"]) == (410, "REPLAY_GAP", "replay_gap")


async def test_a_wrong_verb_comes_with_the_right_ones() -> None:
    assert (await refused(WRONG_VERB))[2]["Allow"] == "GET"


async def test_only_the_sentence_is_translated() -> None:
    _, english, _ = await refused(not_found("agent", "x"))
    _, vietnamese, headers = await refused(not_found("agent", "x"), locale="vi")

    assert headers["Content-Language"] == "vi"
    assert vietnamese.pop("error") != english.pop("error")
    assert vietnamese == english


async def test_json_is_compact_and_typed() -> None:
    response = json_response({"a": "ê"}, 201, {"Location": "/x"})
    assert await response.get_data(as_text=False) == '{"a":"ê"}'.encode()
    assert (response.status_code, response.headers["Location"]) == (201, "/x")
