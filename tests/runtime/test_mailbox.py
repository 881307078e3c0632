"""The mailbox by itself, without actors."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from goclaw.runtime.address import Address
from goclaw.runtime.faults import ControlOverflow
from goclaw.runtime.mailbox import CONTROL, Load, Mailbox, Overflow
from goclaw.runtime.message import Cancel, ChildEnded, Down, Envelope, LinkExit, Message, Resume, Stop, Suspend
from tests.runtime.house import Say


def box(capacity: int, overflow: Overflow, most: int = 1_000) -> Mailbox:
    return Mailbox(capacity, overflow, Load(lambda: 0.0, lambda mailbox: None, most))


def put(mailbox: Mailbox, message: Message[object] | Message[str] | Message[None]) -> Envelope | None:
    return mailbox.offer(Envelope(message))


def texts(mailbox: Mailbox) -> list[str]:
    found = []
    while (envelope := mailbox.take()) is not None:
        message = envelope.message
        found.append(message.text if isinstance(message, Say) else type(message).__name__)
    return found


def down(path: str) -> Down:
    return Down(address=Address(path), incarnation=1, reason="normal")


def test_ordinary_messages_keep_their_order_and_control_overtakes() -> None:
    mailbox = box(10, Overflow.REJECT)

    for message in (Say(text="a"), Say(text="b"), Stop(), Say(text="c")):
        put(mailbox, message)

    assert texts(mailbox) == ["Stop", "a", "b", "c"]


def test_reject_hands_the_newcomer_back() -> None:
    mailbox = box(1, Overflow.REJECT)
    put(mailbox, Say(text="a"))
    late = Envelope(Say(text="b"))

    assert mailbox.offer(late) is late
    assert texts(mailbox) == ["a"]
    assert mailbox.dropped == 0


def test_drop_old_gives_the_place_of_the_oldest_to_the_newcomer() -> None:
    mailbox = box(2, Overflow.DROP_OLD)
    oldest = Envelope(Say(text="a"))
    mailbox.offer(oldest)
    put(mailbox, Say(text="b"))

    assert put(mailbox, Say(text="c")) is oldest
    assert mailbox.dropped == 1
    assert texts(mailbox) == ["b", "c"]


def test_drop_new_turns_the_newcomer_away() -> None:
    mailbox = box(1, Overflow.DROP_NEW)
    put(mailbox, Say(text="a"))
    late = Envelope(Say(text="b"))

    assert mailbox.offer(late) is late
    assert mailbox.dropped == 1
    assert texts(mailbox) == ["a"]


def test_a_full_user_lane_still_takes_control() -> None:
    mailbox = box(1, Overflow.REJECT)
    put(mailbox, Say(text="a"))

    assert put(mailbox, Stop()) is None
    assert texts(mailbox) == ["Stop", "a"]


def test_a_notice_comes_after_what_was_said_before_it_and_before_what_was_said_after() -> None:
    mailbox = box(3, Overflow.REJECT)

    for message in (Say(text="last words"), Say(text="more"), down("x"), Say(text="later"), down("y")):
        assert put(mailbox, message) is None  # full for others, never for notices

    assert texts(mailbox) == ["last words", "more", "Down", "later", "Down"]


def test_a_notice_is_not_held_up_by_messages_that_were_dropped() -> None:
    mailbox = box(1, Overflow.DROP_OLD)
    put(mailbox, Say(text="a"))
    put(mailbox, down("x"))
    put(mailbox, Say(text="b"))

    assert texts(mailbox) == ["Down", "b"]


def test_a_notice_keeps_its_place_when_messages_behind_it_are_taken_back() -> None:
    mailbox = box(4, Overflow.REJECT)
    for message in (Say(text="a"), Say(text="last words"), down("x"), Say(text="b"), down("y"), Say(text="c")):
        put(mailbox, message)

    mailbox.withdraw(lambda envelope: envelope.message in (Say(text="a"), Say(text="b")))

    assert texts(mailbox) == ["last words", "Down", "Down", "c"]


def test_a_notice_keeps_its_place_when_smaller_bounds_push_out_what_is_behind_it() -> None:
    mailbox = box(3, Overflow.REJECT)
    for message in (Say(text="last words"), down("x"), Say(text="b"), Say(text="c")):
        put(mailbox, message)

    mailbox.resize(1, Overflow.REJECT)

    assert texts(mailbox) == ["last words", "Down"]


def test_who_wants_no_more_news_of_ends_still_hears_of_broken_links() -> None:
    mailbox = box(1, Overflow.REJECT)
    put(mailbox, down("x"))
    put(mailbox, LinkExit(address=Address("x"), reason="crash"))

    mailbox.forget_news_of(Address("x"), Down)

    assert texts(mailbox) == ["LinkExit"]


def test_a_held_user_lane_lets_control_pass() -> None:
    mailbox = box(2, Overflow.REJECT)
    put(mailbox, Say(text="a"))
    mailbox.held = True
    pending = [mailbox.pending]
    put(mailbox, Stop())
    pending.append(mailbox.pending)

    assert pending == [False, True]
    assert texts(mailbox) == ["Stop"]
    mailbox.held = False
    assert texts(mailbox) == ["a"]


def test_equal_signals_are_merged() -> None:
    mailbox = box(1, Overflow.REJECT)
    for reason in ("x", "x", "y"):
        put(mailbox, Cancel(reason=reason))

    assert len(mailbox.control) == 2


def test_of_equal_signals_the_last_one_counts() -> None:
    mailbox = box(1, Overflow.REJECT)
    for signal in (Suspend(), Resume(), Suspend()):
        put(mailbox, signal)

    assert texts(mailbox) == ["Resume", "Suspend"]


def test_more_signals_than_anybody_needs_are_a_bug_and_stay_bounded() -> None:
    mailbox = box(1, Overflow.REJECT)
    refused = [put(mailbox, Cancel(reason=str(number))) for number in range(CONTROL * 3)]

    assert len(mailbox.control) == CONTROL + 1
    assert sum(envelope is not None for envelope in refused) == 2 * CONTROL - 1
    with pytest.raises(ControlOverflow):
        mailbox.take()


def test_a_crash_forgets_signals_but_not_the_order_to_stop() -> None:
    mailbox = box(2, Overflow.REJECT)
    ended = ChildEnded(address=Address("x"), incarnation=1, reason="crash")
    for message in (Say(text="a"), Suspend(), Stop(), ended):
        put(mailbox, message)

    lost = mailbox.forget_signals(Stop)

    assert {type(envelope.message) for envelope in lost} == {Suspend, ChildEnded}
    assert texts(mailbox) == ["Stop", "a"]


def test_smaller_bounds_push_out_what_no_longer_fits() -> None:
    mailbox = box(5, Overflow.REJECT)
    for text in "abcde":
        put(mailbox, Say(text=text))

    left = mailbox.resize(2, Overflow.DROP_OLD)

    assert [envelope.message.text for envelope in left] == ["a", "b", "c"]  # type: ignore[attr-defined]
    assert texts(mailbox) == ["d", "e"]


async def test_senders_that_wait_for_room_are_let_in_one_by_one() -> None:
    mailbox = box(1, Overflow.REJECT)
    put(mailbox, Say(text="0"))

    async def send(text: str) -> None:
        while put(mailbox, Say(text=text)) is not None:
            await mailbox.room()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, "1")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(send, "2")
        await trio.testing.wait_all_tasks_blocked()
        taken = []
        for _ in range(3):
            envelope = mailbox.take()
            assert envelope is not None
            taken.append(envelope.message)
            await trio.testing.wait_all_tasks_blocked()

    assert taken == [Say(text="0"), Say(text="1"), Say(text="2")]


async def test_a_sender_that_gives_up_waiting_leaves_no_trace() -> None:
    mailbox = box(1, Overflow.REJECT)
    put(mailbox, Say(text="a"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.room)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

    assert texts(mailbox) == ["a"]
    mailbox.rest()
    assert mailbox._waiting is None


def test_an_idle_mailbox_owns_no_lane() -> None:
    mailbox = box(1, Overflow.REJECT)
    for message in (Say(text="a"), Stop(), down("x")):
        put(mailbox, message)
    texts(mailbox)

    mailbox.rest()

    assert (mailbox.user, mailbox.control, mailbox._notices) == (box(1, Overflow.REJECT).user, mailbox.user, None)
    assert mailbox.received == 1
