"""What tools of a loop know and say of it. Contract: durability.md §8.3."""

from __future__ import annotations

from goclaw.actors.engine.life import Life
from goclaw.agent.looping import done
from goclaw.domain.events import body
from goclaw.runtime.actor import Context
from goclaw.stores import run_steps


class RunProgress:
    def __init__(self, ctx: Context, life: Life) -> None:
        self._ctx = ctx
        self._life = life

    def step(self) -> int | None:
        return None if self._life.journal.loop is None else done(self._life.draft) + 1

    async def tell(self, status: str) -> None:
        await self._ctx.db(run_steps.say_status, self._life.run, status=status)
        self._life.voice.say("loop.status_update", body(status=status), logged=False)
