"""Where operators ask for chaos: one plan at a time, each a child.

Address   /system/chaos
Contract  supervision.md §21
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import msgspec

from goclaw.actors.chaos.cost import Cost
from goclaw.actors.chaos.experiment import Ended, EndNow, Experiment, agent_id, announce, sweep
from goclaw.actors.chaos.load import operator
from goclaw.domain.access import MASTER_TENANT, SYSTEM_USER
from goclaw.domain.agent import AgentProfile
from goclaw.domain.chaos import (
    LOAD_AGENT,
    GetReport,
    Load,
    Report,
    Started,
    StartPlan,
    StopPlan,
    load_sessions,
)
from goclaw.domain.errors import Err, StoreError, failed_precondition, invalid, not_found, unavailable
from goclaw.domain.ids import new_id
from goclaw.operations.context import House
from goclaw.operations.turns import resolve_agent
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.child import ABNORMAL, Child, Restart
from goclaw.runtime.faults import Rejected
from goclaw.runtime.message import ChildEnded, Message
from goclaw.runtime.reply import Reply
from goclaw.settings.providers import OFFLINE
from goclaw.stores import chaos as rows
from goclaw.stores.unit import Json

AGAIN = 5.0  # seconds before another try when the database is away
FINISH = 15.0  # seconds a plan has to end when the house does
SEEDS = 53  # bits: a seed survives clients whose numbers are floats


class Interrupt(Message[None]):
    """Say of plans that died with their process that they did."""


class Desk(Actor):
    weather = (StoreError,)

    def __init__(self, house: House) -> None:
        self.house = house
        self.running: tuple[str, Address] | None = None
        self.load: Load | None = None  # of the running plan
        self.waiting: list[Reply] = []  # for the end of the running plan
        self.unswept: dict[str, Load] = {}  # of plans that are over

    async def on_start(self, ctx: Context) -> None:
        await self._interrupt(ctx)

    @handles
    async def interrupt(self, ctx: Context, _tick: Interrupt) -> None:
        await self._interrupt(ctx)

    async def _interrupt(self, ctx: Context) -> None:
        """A plan lives in memory: none of those a former life began goes on."""
        try:
            node, alone = self.house.node_id, self.house.embedded
            living = self.running[0] if self.running else None
            for row in await ctx.db(rows.interrupt, node=node, alone=alone, living=living):
                ctx.log.warning("chaos.interrupted", plan=row.id, name=row.name)
                with suppress(msgspec.ValidationError):  # another version's plan must not keep the house from starting
                    if (load := msgspec.convert(row.plan.get("load"), Load | None)) is not None:
                        self.unswept[row.id] = load
            for plan_id, load in list(self.unswept.items()):
                await sweep(ctx, plan_id, load_sessions(load, plan_id))
                del self.unswept[plan_id]
        except StoreError:
            ctx.after(AGAIN, Interrupt())

    @handles
    async def start(self, ctx: Context, ask: StartPlan) -> Started | Err:
        if self.running is not None:
            return failed_precondition("chaos_active", id=self.running[0])
        plan_id = new_id()
        try:
            started = await self._start(ctx, plan_id, ask)
        except Exception:
            self.running = None
            await self._clean_up(ctx, plan_id, ask.plan.load)
            raise
        facts = {"name": ask.plan.name, "seed": started.seed, "ends_at": started.ends_at}
        announce(ctx.system, "chaos.started", id=plan_id, **facts, by=ask.by)
        return started

    async def _start(self, ctx: Context, plan_id: str, ask: StartPlan) -> Started:
        plan = ask.plan
        seed = plan.seed if plan.seed is not None else ctx.rng.getrandbits(SEEDS)
        agent = await self._agent(ctx, plan.load, plan_id) if plan.load is not None else None
        cost = Cost(self.house)
        began = await ctx.db(
            rows.start, id=plan_id, node=self.house.node_id, name=plan.name, seed=seed, plan=Json(plan), by=ask.by
        )
        experiment = (self.house, plan, plan_id, seed, began, agent, cost)
        child = Child(plan_id, Experiment, experiment, restart=Restart.TEMPORARY, shutdown=FINISH)
        self.running = (plan_id, ctx.child(child))
        self.load = plan.load
        return Started(id=plan_id, seed=seed, ends_at=began + timedelta(seconds=plan.seconds))

    async def _clean_up(self, ctx: Context, plan_id: str, load: Load | None) -> None:
        """A plan did not begin or did not end by itself: its row may say that it runs, its load may be left."""
        if load is not None:
            self.unswept[plan_id] = load
        await self._interrupt(ctx)

    async def _agent(self, ctx: Context, load: Load, plan_id: str) -> AgentProfile:
        """Who answers synthetic turns. Refuses an agent whose model costs money."""
        if load.agent == LOAD_AGENT:
            made = agent_id(plan_id)
            await ctx.db(
                rows.add_agent, id=made, tenant=MASTER_TENANT, key=LOAD_AGENT, name="Offline load", owner=SYSTEM_USER
            )
        profile = await resolve_agent(operator(self.house), load.agent)
        if profile.provider != OFFLINE:
            raise Rejected(invalid("load.agent", f"{profile.key} asks a vendor; name an agent of the offline model"))
        return profile

    @handles
    def report(self, ctx: Context, ask: GetReport) -> Err | None:
        if self.running is None or self.running[0] != ask.id:
            return not_found("chaos_plan", ask.id)
        ctx.forward(self.running[1], ask)
        return None

    @handles
    def stop(self, ctx: Context, ask: StopPlan) -> Err | None:
        if self.running is None or ask.id not in ("", self.running[0]):
            return not_found("chaos_plan", ask.id)
        if (reply := ctx.defer()) is not None:
            self.waiting.append(reply)
        ctx.tell(self.running[1], EndNow())
        return None

    @handles
    def ended(self, ctx: Context, news: Ended) -> None:
        self._over(news.report)

    @handles
    async def child_ended(self, ctx: Context, news: ChildEnded) -> None:
        """A plan that did not get to its end by itself. What it held was let go with it."""
        if self.running is None or self.running[1] != news.address:
            return
        plan_id, _ = self.running
        self._over(unavailable("crashed"))
        if news.reason in ABNORMAL:
            announce(ctx.system, "chaos.ended", id=plan_id, state="aborted", reason="crashed")
            with suppress(StoreError):
                await ctx.db(rows.end, id=plan_id, state="aborted", reason="crashed", report=None)
        await self._clean_up(ctx, plan_id, self.load)

    def _over(self, answer: Report | Err) -> None:
        self.running = None
        for reply in self.waiting:
            reply.answer(answer)
        self.waiting.clear()

    def snapshot(self) -> dict[str, object]:
        return {"running": self.running[0] if self.running else None}
