"""Nothing of a secret is left in what models and users see, however it comes. Contract: security.md §6."""

from __future__ import annotations

from typing import Any

import pytest
import structlog
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from goclaw.security.known import FADING, Forms, Known
from goclaw.security.redact import HOLD, NEAR, SLICE, WITHHELD, Redactor, without_secrets
from goclaw.security.shapes import SHAPES, Mark
from tests.security.corpus import cases, changed

VALUE = "S3cr3t-Value-0123456789"
KNOWN = Known([VALUE, "short1", 'with "quotes" and 100 % \\ more']).forms
PEM = "-----BEGIN RSA PRIVATE KEY-----\n{body}-----END RSA PRIVATE KEY-----"
SECRETS = [
    VALUE,
    VALUE.encode().hex(),
    "s\u006b-" + "a1B2" * 8,
    "gh\u0070_" + "a1B2" * 9,
    "AK\u0049A" + "A1B2" * 4,
    "AI\u007aa" + "a1B2_" * 7,
    "xo\u0078b-" + "a1B2" * 4,
    "12345678:" + "a1B2_" * 7,
    "ey\u004a" + "a1B2" * 4 + ".ey\u004a" + "a1B2" * 4 + "." + "a1B2" * 4,
    "postgres://u:p@db/x",
    "https://bob:s3cr3tpw@git.example/a.git",
    "Authorization: Bearer abcdef123456",
    "token=abcdefgh99",
    '"password": "correcthorse"',
    "OPENAI_API_KEY=abcdefgh12345",
    "DATABASE_URL=sqlite:///a.db",
    "--token=abcdefgh99",
    "0123456789abcdef" * 4,
    PEM.format(body="MIIB\n" * 3),
]
PIECES = [
    *SECRETS,
    "[REDACTED]",
    " ",
    "\n",
    "_",
    "-",
    "=",
    ": ",
    '"',
    "a",
    "Z",
    "9",
    ".",
    "/",
    "é",
    "%41",
    "\\u0041",
    "key",
]


@pytest.mark.parametrize("case", cases("scrub", refused=changed))
async def test_case(case: dict[str, Any]) -> None:
    """SEC-22. Each vector of §6.3, and more."""
    assert await without_secrets(case["text"]) == case["becomes"]


@pytest.mark.parametrize("case", cases("known", refused=changed))
async def test_a_registered_value_in_every_disguise(case: dict[str, Any]) -> None:
    """SEC-23."""
    assert await without_secrets(case["text"], Known([case["value"]]).forms) == case["becomes"]


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12))
async def test_scrubbing_twice_is_scrubbing_once(pieces: list[str]) -> None:
    once = await without_secrets("".join(pieces), KNOWN)

    assert await without_secrets(once, KNOWN) == once


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("filler", ["né w\n", "a b ", '{"a": 1},', "q"])
async def test_a_border_of_slices_hides_nothing_from_us(secret: str, filler: str) -> None:
    end = "\n" if filler.endswith("\n") else " "
    expected = await without_secrets(f"{end}{secret}{end}", KNOWN)
    for before in (
        SLICE - HOLD - NEAR,
        SLICE - HOLD,
        SLICE - HOLD - 7,
        SLICE - len(secret),
        SLICE - 9,
        SLICE - 1,
        SLICE,
    ):
        ahead = (filler * SLICE)[:before]
        rest = (filler * SLICE)[: SLICE + HOLD]

        assert await without_secrets(f"{ahead}{end}{secret}{end}{rest}", KNOWN) == f"{ahead}{expected}{rest}"


@settings(deadline=None)
@given(st.lists(st.integers(1, 400), max_size=40), st.sampled_from(SECRETS))
async def test_a_stream_says_what_the_whole_text_says(cuts: list[int], secret: str) -> None:
    text = f"begin\n{secret} and {secret}\n{'long ' * 2000}{secret} {'word' * 3000}\n{secret}"
    stream = Redactor(KNOWN)
    said, at = "", 0
    for cut in cuts:
        said += await stream.feed(text[at : at + cut])
        at += cut
    said += await stream.feed(text[at:]) + await stream.finish()

    assert said == await without_secrets(text, KNOWN)


async def test_a_stream_hands_out_whole_lines_and_holds_the_end_of_a_long_one() -> None:
    stream = Redactor()

    assert await stream.feed("one\ntwo") == "one\n"
    assert await stream.feed(" three\nfour") == "two three\n"
    long = await stream.feed("x" * 3 * HOLD)
    assert 0 < len(long) <= 2 * HOLD + 4
    assert (long + await stream.finish()) == "four" + "x" * 3 * HOLD


@pytest.mark.parametrize("size", [10, SLICE, 5 * SLICE])
async def test_a_private_key_of_any_length_is_one_mark(size: int) -> None:
    lines = "QUJDREVGR0g=\n" * (size // 13)

    assert await without_secrets(f"a\n{PEM.format(body=lines)}\nb") == "a\n[REDACTED]\nb"
    assert await without_secrets(f"a\n-----BEGIN PRIVATE KEY-----\n{lines}") == "a\n[REDACTED]"
    escaped = PEM.format(body=lines).replace("\n", "\\n")
    assert await without_secrets(f'{{"k": "{escaped}", "n": 1}}') == '{"k": "[REDACTED]", "n": 1}'


async def test_a_secret_longer_than_any_slice_has_no_rest() -> None:
    said = await without_secrets(f"{'f' * 5 * SLICE} after")

    assert set(said.replace("[REDACTED]", "")) <= set(" after")
    assert said.endswith(" after")
    assert "ffff" not in said


async def test_others_run_between_the_slices() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        await without_secrets("KEY" * 100_000)
        nursery.cancel_scope.cancel()
    assert turns >= 300_000 / (2 * SLICE)


async def test_what_cannot_be_scrubbed_is_withheld() -> None:
    class Broken(Forms):
        def hide(self, text: str, mark: Mark) -> str:
            raise RuntimeError(text)

    with structlog.testing.capture_logs() as logs:
        assert await without_secrets(f"{VALUE}", Broken()) == WITHHELD == "[result withheld: redaction failed]"

    assert logs == [{"event": "security.redaction_failed", "error_type": "RuntimeError", "log_level": "error"}]


# --- who holds what ----------------------------------------------------------------------------------


async def test_a_value_counts_as_long_as_it_is_held_and_ten_minutes_more() -> None:
    clock = [0.0]
    known = Known(now=lambda: clock[0])
    known.hold("row 1", [VALUE])
    known.hold("row 1", ["another-value-of-the-row"])
    clock[0] = FADING - 1
    assert await without_secrets(f"{VALUE} another-value-of-the-row", known.forms) == "[REDACTED] [REDACTED]"

    clock[0] = FADING
    assert await without_secrets(f"{VALUE} another-value-of-the-row", known.forms) == f"{VALUE} [REDACTED]"
    known.drop("row 1")
    clock[0] = 2 * FADING
    assert known.forms.values == []


async def test_a_value_of_two_owners_outlives_the_first() -> None:
    clock = [0.0]
    known = Known([VALUE], now=lambda: clock[0])
    known.hold("row", [VALUE])
    known.drop("row")
    clock[0] = 2 * FADING

    assert await without_secrets(VALUE, known.forms) == "[REDACTED]"


async def test_a_value_of_one_call_is_lent() -> None:
    clock = [0.0]
    known = Known(now=lambda: clock[0])
    with known.lent([VALUE]), known.lent(["of the other call"]):
        assert await without_secrets(f"{VALUE}, of the other call", known.forms) == "[REDACTED], [REDACTED]"
    assert await without_secrets(VALUE, known.forms) == "[REDACTED]"
    clock[0] = FADING

    assert await without_secrets(VALUE, known.forms) == VALUE


async def test_a_text_of_many_lines_is_found_line_by_line() -> None:
    known = Known(["first line of the secret\n  and its second line\nend"]).forms

    assert await without_secrets("> and its second line <\nend", known) == "> [REDACTED] <\nend"


async def test_the_longest_value_goes_first_and_our_own_marks_are_none() -> None:
    known = Known(["secret-one", "secret-one-and-more", "REDACTED", "secret", *SHAPES]).forms

    assert await without_secrets("secret-one-and-more secret-one [REDACTED] secret", known) == (
        "[REDACTED] [REDACTED] [REDACTED] secret"
    )


async def test_the_gateways_own_address_is_not_told() -> None:
    known = Known()
    known.reached_at(["203.0.113.7"])

    said = await without_secrets("at 203.0.113.7:80, not 203.0.113.70 or 1.203.0.113.7", known.forms)
    assert said == "at [SERVER_IP]:80, not 203.0.113.70 or 1.203.0.113.7"


async def test_thousands_of_values_are_found_like_one() -> None:
    known = Known(f"value-{number:05}-{number * 7919:x}-tail" for number in range(2000)).forms

    assert await without_secrets(f"x value-01234-{1234 * 7919:x}-tail y", known) == "x [REDACTED] y"
