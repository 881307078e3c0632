"""A model that says a secret is not heard. Contract: security.md §12.1."""

from __future__ import annotations

from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from goclaw.security.known import Known
from goclaw.security.leaks import Leaked, LeakFilter, Mode, unleaked
from tests.security.corpus import cases, changed

VALUE = "S3cr3t-Value-0123456789"
LONG = "x9" * 900  # as tokens of accounts are
KNOWN = Known([VALUE, LONG]).forms
KEY = "s\u006b-" + "a1B2" * 8
PEM = "-----BEGIN PRIVATE KEY-----\n" + "QUJD\n" * 40 + "-----END PRIVATE KEY-----"


def heard(mode: Mode, text: str, cuts: list[int]) -> str:
    filter, said, at = LeakFilter(mode, KNOWN), "", 0
    for cut in cuts:
        said += filter.feed(text[at : at + cut])
        at += cut
    return said + filter.feed(text[at:]) + filter.finish()


@settings(deadline=None)
@given(st.sampled_from([VALUE, LONG, VALUE.encode().hex()]), st.lists(st.integers(1, 60), max_size=60))
def test_a_registered_secret_is_not_heard_however_it_is_cut(secret: str, cuts: list[int]) -> None:
    assert heard("registered", f"it is {secret}{secret}, yes", cuts) == "it is [REDACTED][REDACTED], yes"


@settings(deadline=None)
@given(st.sampled_from([VALUE, KEY, PEM]), st.lists(st.integers(1, 60), max_size=60))
def test_what_looks_like_a_key_is_not_heard_however_it_is_cut(secret: str, cuts: list[int]) -> None:
    text = f"it is {secret}\nand {secret} yes"

    assert heard("patterns", text, cuts) == "it is [REDACTED]\nand [REDACTED] yes"


@pytest.mark.parametrize(
    "case",
    [
        case
        for case in cases("known", refused=changed)
        if "twice" not in case.id and case.values[0]["value"] != "abcdef"
    ],
)
def test_a_disguise_that_comes_sign_by_sign(case: Any) -> None:
    filter = LeakFilter("registered", Known([case["value"]]).forms)

    assert "".join(map(filter.feed, case["text"])) + filter.finish() == case["becomes"]


def test_only_what_may_become_a_secret_is_held_back() -> None:
    filter = LeakFilter("registered", KNOWN)

    assert filter.feed("Hello, wor") == "Hello, wor"
    assert filter.feed("ld S3cr3t-V") == "ld "
    assert filter.feed("acation") == "S3cr3t-Vacation"
    assert filter.finish() == ""


def test_by_default_shapes_are_said() -> None:
    assert heard("registered", f"like {KEY}", []) == f"like {KEY}"
    assert heard("patterns", "token=abcdefgh99", []) == "token=abcdefgh99"
    assert heard("off", VALUE, [3]) == VALUE


def test_a_message_with_a_secret_is_withheld_as_a_whole() -> None:
    filter = LeakFilter("block", KNOWN)
    assert filter.feed(f"it is {VALUE}") == ""
    with pytest.raises(Leaked):
        filter.finish()

    assert heard("block", "it is nothing", [2, 2]) == "it is nothing"


async def test_a_leak_is_told_once_and_without_the_secret() -> None:
    with structlog.testing.capture_logs() as logs:
        assert await unleaked(f"{VALUE} {VALUE}" + " x" * 9000, "registered", KNOWN, run="r1") == (
            "[REDACTED] [REDACTED]" + " x" * 9000
        )

    assert logs == [
        {"event": "security.secret_leak_blocked", "log_level": "warning", "mode": "registered", "run": "r1"}
    ]
