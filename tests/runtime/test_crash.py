from __future__ import annotations

from datetime import UTC, datetime

from goclaw.runtime.crash import LETTERS, MESSAGE, TRACEBACK, Crash, DeadLetters, crash_of, fingerprint
from goclaw.runtime.message import Envelope
from tests.runtime.house import Say

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


def here(message: str = "x") -> Exception:
    try:
        raise RuntimeError(message)
    except RuntimeError as error:
        return error


def there() -> Exception:
    try:
        raise RuntimeError("x")
    except RuntimeError as error:
        return error


def crash(error: Exception) -> Crash:
    return crash_of(error, at=NOW, path="/a", incarnation=1, in_hand="", queued=0, lived=0.0)


def deep(levels: int) -> None:
    if levels == 0:
        raise RuntimeError("x" * 100_000)
    deep(levels - 1)


def test_one_place_and_type_have_one_fingerprint_whatever_the_text() -> None:
    assert fingerprint(here("a")) == fingerprint(here("b")) != fingerprint(there())
    assert len(fingerprint(here())) == 16


def test_a_crash_record_is_bounded() -> None:
    try:
        deep(200)
    except RuntimeError as error:
        record = crash(error)

    assert len(record.message) == MESSAGE
    assert len(record.traceback) == TRACEBACK


def test_an_exception_without_a_text_can_be_recorded() -> None:
    try:
        raise Unprintable
    except Unprintable as error:
        record = crash(error)

    assert record.type == "Unprintable"
    assert "failed" in record.message


def test_dead_letters_keep_the_newest_and_count_all() -> None:
    letters = DeadLetters()
    for number in range(LETTERS + 10):
        letters.add(NOW, f"/{number}", Envelope(Say(text="secret")), "no_actor")

    assert letters.total == LETTERS + 10
    assert letters.counters["no_actor", Say.TYPE] == LETTERS + 10
    assert len(letters.records) == LETTERS
    assert letters.records[-1].to == f"/{LETTERS + 9}"
    assert "secret" not in repr(letters.records)
