"""Synthetic turns, sent as any client sends them, and how long each took to be answered."""

from __future__ import annotations

import trio

from goclaw.domain.access import SYSTEM_USER, Caller, Role
from goclaw.domain.agent import AgentProfile
from goclaw.domain.chaos import Load, load_sessions
from goclaw.domain.errors import Rejected, StoreError
from goclaw.domain.run import RunRequest
from goclaw.domain.session import parse_key
from goclaw.operations.context import Context, House
from goclaw.operations.feed import listening
from goclaw.operations.turns import send
from goclaw.runtime.faults import RuntimeFault

SETTLE = 5.0  # seconds the last turns have to be answered


def operator(house: House) -> Context:
    """The gateway itself, as a client of its own operations."""
    return Context(house, Caller(user_id=SYSTEM_USER, role=Role.ADMIN, is_owner=True))


class Traffic:
    """Turn k goes out at (k + ½) / rate seconds to session k modulo their number: the same in every run of a plan."""

    def __init__(self, house: House, load: Load, agent: AgentProfile, plan_id: str) -> None:
        self.keys = load_sessions(load, plan_id)
        self.part = 0  # of the plan: before, during, after the faults
        self.offered = self.refused = self.failed = 0
        self.open: set[str] = set()  # acknowledged runs that have not ended
        self.ended: list[str] = []  # acknowledged runs that have
        self.sent = [0, 0, 0]  # by part
        self.took: dict[int, list[float]] = {0: [], 1: [], 2: []}  # milliseconds, by the part they were sent in
        self._ctx = operator(house)
        self._rate = load.turns_per_sec
        self._agent = agent
        self._quiet = trio.Event()
        self._stopped = False

    async def run(self) -> None:
        """Send turns until we are stopped or cancelled."""
        began = trio.current_time()
        number = 0
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep_until(began + (number + 0.5) / self._rate)
                if self._stopped:
                    break
                nursery.start_soon(self._turn, number)
                number += 1

    async def settle(self) -> None:
        """Send no more, and give the open ones a little time."""
        self._stopped = True
        with trio.move_on_after(SETTLE):
            while self.open:
                self._quiet = trio.Event()
                await self._quiet.wait()

    async def _turn(self, number: int) -> None:
        run_id, part, sent = self._ctx.new_id(), self.part, trio.current_time()
        key = parse_key(self.keys[number % len(self.keys)])
        request = RunRequest(message=f"chaos turn {number}", stream=False, use_tools=False)
        self.offered += 1
        self.sent[part] += 1
        with listening(self._ctx.system, run_id, only_result=True) as feed:
            try:
                await send(self._ctx, run_id=run_id, agent=self._agent, key=key, kind="chat", request=request)
            except (Rejected, RuntimeFault, StoreError):
                self.refused += 1
                return
            self.open.add(run_id)
            result = await feed.result()
        self.open.discard(run_id)
        self.ended.append(run_id)
        if result.error is not None:
            self.failed += 1
        elif not result.cancelled:
            self.took[part].append((trio.current_time() - sent) * 1000)
        if not self.open:
            self._quiet.set()
