"""What refusals mean. Contract: providers.md §8, §9.1, PR-10, PR-17."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from goclaw.providers.retry import ATTEMPTS, delay
from goclaw.providers.trouble import inner_refusal, one_line, refusal, retry_after


def refused(status: int, message: str = "no", **more: str):
    return refusal(status, {}, json.dumps({"error": {"message": message, **more}}).encode())


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "invalid role", "format"),
        (400, "This model's maximum context length is 8192 tokens", "context_overflow"),
        (400, "insufficient balance", "billing"),
        (401, "no", "auth"),
        (402, "no", "billing"),
        (403, "no", "auth_permanent"),
        (404, "the model x does not exist", "model_not_found"),
        (408, "no", "timeout"),
        (418, "no", "unknown"),
        (422, "no", "format"),
        (429, "slow down", "rate_limit"),
        (429, "You exceeded your current quota, please check your plan and billing details.", "rate_limit"),
        (429, "Too many tokens, please wait before trying again.", "rate_limit"),
        (400, "Your credit balance is too low. Please go to Plans & Billing.", "billing"),
        (403, 'openai/gpt-4o requires moderation. Your input was flagged for "violence".', "content_policy"),
        (500, "no", "server_error"),
        (503, "overloaded", "overloaded"),
        (504, "no", "timeout"),
        (529, "no", "overloaded"),
    ],
)
def test_a_refusal_has_the_kind_of_its_words_or_its_status(status, message, kind):
    error = refused(status, message)

    assert (error.kind, error.status) == (kind, status)
    assert message in error.message


def test_the_type_of_an_error_counts_as_words():
    assert refused(429, "sorry", type="insufficient_quota").kind == "billing"


@pytest.mark.parametrize(
    "body", [b'{"detail": "gone"}', b'"gone"', b'{"message": "gone"}', b'{"error": "gone"}', b'["gone"]']
)
def test_the_vendors_words_are_found_in_the_usual_places(body):
    assert "gone" in refusal(400, {}, body).message


def test_what_somebody_said_is_no_part_of_what_the_vendor_says():
    wrong = {"type": "missing", "loc": ["body"], "msg": "Field required", "input": {"content": "my billing, revoked"}}
    error = refusal(422, {}, json.dumps({"detail": [wrong]}).encode())

    assert error.kind == "format"
    assert "Field required" in error.message
    assert "revoked" not in error.message


def test_a_list_of_one_error_is_that_error():
    error = refusal(429, {}, b'[{"error": {"message": "slow down", "status": "RESOURCE_EXHAUSTED"}}]')
    assert error.message == "API error (429): slow down"


def test_a_proxys_page_is_shown_without_tags_and_short():
    error = refusal(502, {"content-type": "text/html; charset=x"}, b"<h1>Bad\n gateway</h1>" + b"x " * 10_000)

    assert error.kind == "server_error"
    assert error.message.startswith("API error (502, text/html): non-JSON response: Bad gateway x x")
    assert len(error.message) < 300


def test_messages_hide_what_looks_like_a_key():
    assert (
        one_line("Incorrect API key provided: sk-abc*****xyz.\nTry again")
        == "Incorrect API key provided: *** Try again"
    )


def test_retry_after_is_read_as_seconds_and_as_a_date():
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)

    assert retry_after("2") == 2.0
    assert retry_after("0.5") == 0.5
    assert 50 < (retry_after(soon) or 0) <= 60
    assert retry_after("Thu, 01 Jan 1970 00:00:00 GMT") == 0.0
    assert [retry_after(x) for x in ("", "soon", "nan", "inf", "-")] == [None] * 5
    assert retry_after(f"Mon, 01 Jan {'9' * 20} 00:00:00 GMT") is None


@pytest.mark.parametrize(
    ("code", "status"), [(429, 429), ("429", 429), (200, None), ("1" * 5000, None), ("٤٢٩", None), (None, None)]
)
def test_an_error_inside_an_answer_has_a_status_if_its_code_is_one(code, status):
    assert inner_refusal({"message": "no", "code": code}).status == status


def test_waits_grow_and_end():
    error = refused(500)

    assert 0.27 <= (delay(1, error) or 0) <= 0.33
    assert 0.54 <= (delay(2, error) or 0) <= 0.66
    assert delay(ATTEMPTS, error) is None
    assert delay(1, refused(401)) is None


def test_a_vendor_that_wants_a_long_wait_is_left_to_failover():
    asked = refusal(429, {"retry-after": "5"}, b"{}")
    long = refusal(429, {"retry-after": "61"}, b"{}")

    assert 5.0 <= (delay(1, asked) or 0) <= 5.5
    assert delay(1, long) is None
