"""One chaos plan at work: a quiet window, the faults, another quiet window, and the account of it all.

Address   /system/chaos/{plan id}
Contract  supervision.md §21
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
import structlog
import trio

from goclaw.actors.chaos.books import PARTS, Books, error_share, faults_of
from goclaw.actors.chaos.cost import Cost
from goclaw.actors.chaos.load import Traffic
from goclaw.domain.access import MASTER_TENANT, SYSTEM_USER
from goclaw.domain.address import CHAOS, session
from goclaw.domain.address import agent as agent_address
from goclaw.domain.agent import AgentProfile
from goclaw.domain.chaos import LOAD_AGENT, GetReport, Plan, PlanState, Report, Turns
from goclaw.domain.errors import StoreError
from goclaw.domain.events import EVERYBODY, ChaosEvent, ShuttingDown, body, of_operators
from goclaw.domain.session import Abort
from goclaw.operations.context import House
from goclaw.operations.gateway import database_answers
from goclaw.runtime import steer
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.faults import NoSuchActor, Rejected, RuntimeFault
from goclaw.runtime.inbox import inbox
from goclaw.runtime.inject import Fault, Injector, matches
from goclaw.runtime.message import Message, Told
from goclaw.runtime.news import EVENTS, LifeNews
from goclaw.runtime.system import System
from goclaw.stores import chaos as rows
from goclaw.stores.unit import Json

PROTECTED = (  # C2; the caller's own connection is no actor, so nothing can hit it
    "/",
    "/system/**",
    "/infra/stores/**",
    "/infra/cluster/**",
    "/infra/tracing/audit_writer",
    "/infra/activity",
    "/infra/actor_log",
    "/engine/policy/**",
    "/edge/listener*",
)
LOOK = 1.0  # seconds between two looks at the gateway's health
COUNT = 5  # looks between two counts of turns
LOUD = 10  # `chaos.fired` a second; C5
ABORT = 2.0  # seconds a session has to stop its synthetic runs
TRIES = 10  # of the last commit, a second apart


class EndNow(Message[None]):
    """An operator has seen enough."""


class Ended(Message[None]):
    """To the desk: all is over, stored and cleaned up."""

    REMOTE = False
    report: Report


class Experiment(Actor):
    """Its `live` is the plan from start to end. However it ends, its hooks end with it."""

    weather = (StoreError,)

    def __init__(
        self,
        house: House,
        plan: Plan,
        plan_id: str,
        seed: int,
        started_at: datetime,
        agent: AgentProfile | None,
        cost: Cost,
    ) -> None:
        self.house = house
        self.plan = plan
        self.id = plan_id
        self.seed = seed
        self.traffic = Traffic(house, plan.load, agent, plan_id) if plan.load and agent else None
        self.cost = cost
        self.at_first_fault = Turns()
        self.ending: tuple[PlanState, str | None] | None = None
        self.over = False
        self.scope = trio.CancelScope()
        self._told: deque[float] = deque(maxlen=LOUD)
        faults = [item.fault for item in plan.items]
        self.injector = Injector(
            house.system,
            faults,
            seed,
            name=plan_id,
            protected=protected,
            known_as=partial(known_as, plan_id),
            most=plan.limits.faults,
            hangs=plan.limits.concurrent_hangs,
            fired=self._fired,
        )
        self.books = Books(house, plan_id, seed, started_at, self.traffic, cost, self.injector)

    async def live(self, ctx: Context) -> None:
        with inbox(ctx.system, ctx.address / "ear", "ChaosEar", self._hear) as ear:
            ear.join(EVENTS)
            ear.join(EVERYBODY)
            with self.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch)
                    if self.traffic is not None:
                        nursery.start_soon(self.traffic.run)
                    await self._parts()
                    nursery.cancel_scope.cancel()
            await self._finish(ctx)

    async def on_stop(self, ctx: Context, reason: str) -> None:
        if not self.over:
            self._end("aborted", reason)
            await self._finish(ctx)

    def release(self) -> None:
        self.injector.stop()

    @handles
    async def report(self, ctx: Context, _ask: GetReport) -> Report:
        return await self.books.report()

    @handles
    async def end_now(self, ctx: Context, order: EndNow) -> None:
        self._end("ended", "stopped")

    def _end(self, state: PlanState, reason: str | None) -> None:
        """The first reason counts."""
        if self.ending is None:
            self.ending = (state, reason)
            self.injector.stop()
            self.scope.cancel()

    # --- the plan -------------------------------------------------------------------------------

    async def _parts(self) -> None:
        plan, began = self.plan, trio.current_time()
        await trio.sleep_until(began + plan.before_sec)
        self.injector.start()
        await self.books.next_part()
        self.at_first_fault = await self.books.turns() or Turns()
        with trio.move_on_at(began + plan.before_sec + plan.duration_sec):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.injector.strike)
                await self.injector.full.wait()
                self._end("aborted", "faults")
        self.injector.calm()
        await self.books.next_part()
        await trio.sleep_until(began + plan.seconds)
        if self.traffic is not None:
            await self.traffic.settle()

    async def _watch(self) -> None:
        """End the plan when it does more harm than its limits allow."""
        abort, healthy_at, looks = self.plan.limits.abort, trio.current_time(), 0
        while True:
            await trio.sleep(LOOK)
            looks += 1
            if await database_answers(self.house):
                healthy_at = trio.current_time()
            elif trio.current_time() - healthy_at > abort.unhealthy_sec:
                self._end("aborted", "unhealthy")
            if looks % COUNT:
                continue
            turns = await self.books.turns()
            if turns is not None and turns.lost > abort.lost:
                self._end("aborted", "lost")
            if turns is not None and self.books.part and error_share(turns, self.at_first_fault) > abort.error_share:
                self._end("aborted", "error_share")

    def _hear(self, message: Message[Any]) -> Told:
        if isinstance(message, LifeNews):
            self.cost.hear(message)
        elif isinstance(message, ShuttingDown):
            self._end("aborted", "drain")
        return Told.ACCEPTED

    def _fired(self, number: int, fault: Fault, path: Address) -> None:
        now = trio.current_time()
        if len(self._told) < LOUD or self._told[0] <= now - 1.0:
            self._told.append(now)
            total = self.injector.fired.total()
            hit = {"item": number, "what": fault.what, "path": str(path)}
            announce(self.house.system, "chaos.fired", id=self.id, **hit, total=total)

    # --- its end --------------------------------------------------------------------------------

    async def _finish(self, ctx: Context) -> None:
        """Let go of the tree, settle the account, store it, take our traces away."""
        self.injector.stop()
        if self.ending is None:
            self.ending = ("ended", None)
        report = await self._settled(ctx)
        if self.traffic is not None:
            await self._clean_up(ctx, self.traffic)
        self.over = True
        announce(ctx.system, "chaos.ended", **msgspec.to_builtins(report))
        ctx.tell(CHAOS, Ended(report=report))

    async def _settled(self, ctx: Context) -> Report:
        """The last report, stored. A database that is away is worth a little patience."""
        assert self.ending is not None
        state, reason = self.ending
        for attempt in range(1, TRIES + 1):
            try:
                report = await self.books.report(state, reason)
                await ctx.db(rows.end, id=self.id, state=state, reason=reason, report=Json(report))
                return report
            except StoreError:
                if attempt == TRIES:
                    raise
                await trio.sleep(1.0)
        raise AssertionError("unreachable")

    async def _clean_up(self, ctx: Context, traffic: Traffic) -> None:
        if traffic.open:
            async with trio.open_nursery() as nursery:
                for key in traffic.keys:
                    nursery.start_soon(self._abort, ctx, key)
        try:
            await sweep(ctx, self.id, traffic.keys)
        except StoreError as trouble:
            ctx.log.warning("chaos.not_swept", plan=self.id, error=str(trouble))

    async def _abort(self, ctx: Context, key: str) -> None:
        """What still runs in a session. One that rests or hangs is left: its rows go all the same."""
        order = Abort(user_id=SYSTEM_USER, as_admin=True, drain=True, reason="chaos")
        with suppress(Rejected, RuntimeFault, StoreError):
            await ctx.ask(session(MASTER_TENANT, key), order, within=ABORT)

    def snapshot(self) -> dict[str, object]:
        return {"part": PARTS[self.books.part], "faults": faults_of(self.injector)}


async def sweep(ctx: Context, plan_id: str, keys: Sequence[str]) -> None:
    """Take the sessions of a plan's load away, alive and stored, and the agent it made. Raises `StoreError`."""
    for key in keys:
        with suppress(NoSuchActor):
            steer.stop(ctx.system, session(MASTER_TENANT, key))
    await ctx.db(rows.sweep, tenant=MASTER_TENANT, keys=keys, agent=agent_id(plan_id))
    with suppress(NoSuchActor):
        steer.stop(ctx.system, agent_address(MASTER_TENANT, LOAD_AGENT))  # it remembers a row that is gone


def protected(path: Address) -> bool:
    return any(matches(glob, path) for glob in PROTECTED)


def known_as(plan_id: str, path: Address) -> str:
    """Two plans with one seed and one load meet the same faults, although their sessions have other names."""
    return path.replace(f":chaos-{plan_id[-8:]}-", ":chaos-")


def agent_id(plan_id: str) -> str:
    """Of the agent a plan made for its load: a start after a crash must find it again."""
    return f"{plan_id[:-12]}{int(plan_id[-12:], 16) ^ 1:012x}"


def announce(system: System, type: str, **facts: Any) -> None:
    """Tell operators and the log. The one place every start, firing and end passes: an audit trail begins here."""
    log = structlog.get_logger()
    kept = {name: value for name, value in facts.items() if isinstance(value, str | int | float)}
    log.info(type, **{("plan" if name == "id" else name): value for name, value in kept.items()})
    system.publish(of_operators(MASTER_TENANT), ChaosEvent(type=type, body=body(**facts)))
