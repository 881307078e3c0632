"""A result that no tool gave is known as such. Contract: security.md §12.3."""

from __future__ import annotations

import pytest
import structlog

from goclaw.security.receipts import NOTE, Receipts, receipt, unreceipted

KEY = bytes(range(0x20, 0x40))
KNOWN = "e6148065ee689633e41f106d"


def test_the_known_answer() -> None:
    assert receipt(KEY, "run-1", "call-1", "exec", {"command": "ls"}, "a.txt") == KNOWN


@pytest.mark.parametrize("at", range(6))
def test_every_part_counts(at: int) -> None:
    parts = [KEY, "run-1", "call-1", "exec", {"command": "ls"}, "a.txt"]
    parts[at] = [bytes(32), "run-2", "call-2", "read", {"command": "la"}, "b.txt"][at]

    assert receipt(*parts) != KNOWN  # type: ignore[arg-type]


def test_the_order_of_arguments_does_not() -> None:
    said = [receipt(KEY, "r", "c", "t", order, "") for order in ({"a": 1, "b": 2}, {"b": 2, "a": 1})]

    assert said[0] == said[1]


def test_a_given_receipt_passes_and_users_do_not_see_it() -> None:
    receipts = Receipts("run-1", key=KEY)
    text = receipts.signed("call-1", "exec", {"command": "ls"}, "a.txt")

    assert text == f"a.txt\n[receipt r1:{KNOWN}]"
    assert receipts.checked(f"it says {text}", "enforce") == (f"it says {text}", 0, "")
    assert unreceipted(f"{text} there") == "a.txt there"
    assert Receipts("run-2", earlier=text).checked(text, "enforce").forged == 0


@pytest.mark.parametrize("token", ["0" * 24, KNOWN[:-1] + "e"])
def test_a_forged_receipt(token: str) -> None:
    receipts = Receipts("run-1", key=KEY)
    receipts.signed("call-1", "exec", {"command": "ls"}, "a.txt")
    said = f"done [ Receipt r1 : {token}] and [receipt r1:{KNOWN}]"

    assert receipts.checked(said, "off") == (said, 0, "")
    with structlog.testing.capture_logs() as logs:
        assert receipts.checked(said, "log") == (said, 1, "")
        assert receipts.checked(said, "enforce") == (f"done [invalid receipt] and [receipt r1:{KNOWN}]", 1, NOTE)
    assert [line["event"] for line in logs] == ["security.receipt_forged"] * 2


def test_a_key_is_of_one_run() -> None:
    said = [Receipts("run-1").signed("c", "t", {}, "x") for _ in range(2)]

    assert said[0] != said[1]
