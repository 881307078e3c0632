"""The duty to answer one ask: whoever holds it answers exactly once. Contract: supervision.md §6."""

from __future__ import annotations

from typing import Any

import trio
from outcome import Error, Outcome, Value

from goclaw.runtime.faults import AskTimeout, DoubleReply, Err, Rejected


class Reply:
    """One asker, parked until somebody answers. The asker's task is the slot: no event, no channel.

    `over` once it is answered or the asker gave up (deadline, cancel); an answer that comes later is lost.
    """

    __slots__ = ("_answer", "_task", "over")

    def __init__(self) -> None:
        self.over = False
        self._answer: Outcome[Any] | None = None
        self._task: trio.lowlevel.Task | None = None

    async def wait(self) -> Any:
        """The answer, or whatever went wrong raised. Only the asker calls this, once."""
        if self._answer is not None:  # refused at the door
            await trio.lowlevel.checkpoint()
            return self._answer.unwrap()
        self._task = trio.lowlevel.current_task()
        return await trio.lowlevel.wait_task_rescheduled(self._give_up)

    def _give_up(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self.over = True
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def due(self, now: float) -> None:
        """The asker's deadline has come."""
        self.over = True
        if self._task is not None:
            trio.lowlevel.reschedule(self._task, Error(AskTimeout()))
            self._task = None

    def answer(self, value: object) -> bool:
        """Hand over `value`; an `Err` reaches the asker as `Rejected`. False if nobody waits any more."""
        return self.settle(Error(Rejected(value)) if isinstance(value, Err) else Value(value))

    def fail(self, fault: BaseException) -> bool:
        """Raise `fault` at the asker. False if nobody waits any more."""
        return self.settle(Error(fault))

    def settle(self, answer: Outcome[Any]) -> bool:
        """Hand over what happened. Raises DoubleReply the second time."""
        if self._answer is not None:
            raise DoubleReply("an ask was answered twice")
        self._answer = answer
        if self.over:
            return False
        self.over = True
        if self._task is not None:
            trio.lowlevel.reschedule(self._task, answer)
            self._task = None
        return True
