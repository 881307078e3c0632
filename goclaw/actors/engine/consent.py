"""How a call waits for somebody's yes: its run's slot is free meanwhile, and taken again before it goes on.

Contract: tools.md §12.3; sessions-lanes-cron.md §4 (L4.4); durability.md K17.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from goclaw.actors.engine.approvals import UNHEARD
from goclaw.domain.address import APPROVALS, lane
from goclaw.domain.approval import Answered, AskApproval, Wish, Withdraw
from goclaw.domain.errors import StoreError
from goclaw.domain.run import ReclaimSlot, TakeSlotBack
from goclaw.runtime.faults import AskTimeout, Rejected, RuntimeFault
from goclaw.runtime.system import System
from goclaw.settings.approval import ExecApproval
from goclaw.tools.tool import ToolFailed

MARGIN = 10.0  # seconds its asker gives the broker beyond the time people have
AGAIN = 0.5  # seconds before the next broker is asked for what one that ended cannot say
PATIENCE = 60.0  # seconds of one ask for a slot


class AtBroker:
    """Implements `tools.approvals.Approvals`. `leaving`: the runs of this process go on elsewhere, or later."""

    def __init__(self, system: System, settings: ExecApproval, leaving: Callable[[], bool] = lambda: False) -> None:
        self._system = system
        self._settings = settings
        self._leaving = leaving

    @property
    def asks(self) -> bool:
        return self._settings.asks

    async def ask(self, wish: Wish) -> None:
        settings = self._settings
        if settings.security == "full" and settings.ask == "off" and not wish.forced:
            return
        try:
            answered = await self._answered(wish)
            if wish.lane and answered.decision is not None:
                await self._reclaim(wish)
        except trio.Cancelled:
            self._give_up(wish)
            raise
        if answered.decision == "timeout":
            said = f"this needs an approval, and nobody answered within {settings.timeout_sec:g} s"
            raise ToolFailed("approval_timeout", f"{said}; do not repeat it unasked")
        if not answered.allowed:
            raise ToolFailed("denied_approval", f"this was not approved: {answered.reason or 'somebody said no'}")

    async def _answered(self, wish: Wish) -> Answered:
        """The broker may end meanwhile; the next one finds the same approval, if the call can be known again."""
        ends = trio.current_time() + self._settings.timeout_sec + MARGIN
        while True:
            try:
                return await self._system.ask(APPROVALS, AskApproval(wish=wish), max(0.0, ends - trio.current_time()))
            except StoreError:
                self._give_up(wish)
                raise ToolFailed("unavailable", f"this needs an approval, and {UNHEARD}") from None
            except (RuntimeFault, Rejected) as fault:
                if isinstance(fault, AskTimeout | Rejected) or wish.call is None:
                    self._give_up(wish)
                    raise ToolFailed("denied_approval", f"this needs an approval, and {UNHEARD}") from None
            await trio.sleep(AGAIN)

    async def _reclaim(self, wish: Wish) -> None:
        """Before anybody who waits in the queue. A lane that begins anew knows of no debt, and says yes."""
        while True:
            try:
                await self._system.ask(lane(wish.lane), ReclaimSlot(run_id=wish.run_id), PATIENCE)
            except RuntimeFault:
                await trio.sleep(AGAIN)
            else:
                return

    def _give_up(self, wish: Wish) -> None:
        """Nobody is asked any more, unless another life of the run will want to know."""
        if not (self._leaving() and wish.call):
            self._system.tell(APPROVALS, Withdraw(run_id=wish.run_id, call_id=wish.call_id))
        if wish.lane:
            self._system.tell(lane(wish.lane), TakeSlotBack(run_id=wish.run_id))
