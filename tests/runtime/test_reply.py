from __future__ import annotations

import pytest
import trio
import trio.testing

from goclaw.runtime.faults import ActorStopped, AskTimeout, DoubleReply, Err, Rejected
from goclaw.runtime.reply import Reply


async def test_the_asker_gets_the_answer() -> None:
    reply = Reply()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.testing.wait_all_tasks_blocked)
        nursery.start_soon(_answer_when_asked, reply, 7)
        assert await reply.wait() == 7


async def _answer_when_asked(reply: Reply, value: object) -> None:
    await trio.testing.wait_all_tasks_blocked()
    assert reply.answer(value)


async def test_an_answer_given_before_anybody_waits_is_kept() -> None:
    refused, failed = Reply(), Reply()

    assert refused.answer(Err("NO", "no"))
    assert failed.fail(ActorStopped("gone"))

    with pytest.raises(Rejected, match="NO"):
        await refused.wait()
    with pytest.raises(ActorStopped):
        await failed.wait()


async def test_the_second_answer_is_a_bug() -> None:
    reply = Reply()
    reply.answer(1)

    with pytest.raises(DoubleReply):
        reply.answer(2)
    assert await reply.wait() == 1


async def test_an_answer_to_somebody_who_gave_up_says_so_once() -> None:
    cancelled, overdue = Reply(), Reply()

    with trio.CancelScope() as scope:
        scope.cancel()
        await cancelled.wait()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_overdue, overdue)
        with pytest.raises(AskTimeout):
            await overdue.wait()

    assert not cancelled.answer(1)
    assert not overdue.answer(1)
    with pytest.raises(DoubleReply):
        overdue.answer(1)


async def _overdue(reply: Reply) -> None:
    await trio.testing.wait_all_tasks_blocked()
    reply.due(0.0)
