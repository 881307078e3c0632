"""One chaos plan at work: a quiet window, the faults, another quiet window, and the account of it all.

Address   /system/chaos/{plan id}
Contract  supervision.md §21
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec
import structlog
import trio

from goclaw.actors.chaos.cost import Cost, spread
from goclaw.actors.chaos.load import Traffic
from goclaw.domain.access import MASTER_TENANT, SYSTEM_USER
from goclaw.domain.address import CHAOS, session
from goclaw.domain.address import agent as agent_address
from goclaw.domain.agent import AgentProfile
from goclaw.domain.chaos import LOAD_AGENT, Check, GetReport, Plan, PlanState, Report, Spread, Turns
from goclaw.domain.errors import StoreError
from goclaw.domain.events import EVERYBODY, ChaosEvent, ShuttingDown, body, of_operators
from goclaw.domain.session import Abort
from goclaw.operations.context import House
from goclaw.operations.gateway import database_answers, status_of
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
from goclaw.stores.chaos import Account
from goclaw.stores.unit import Json

PROTECTED = (  # C2; the caller's own connection is no actor, so nothing can hit it
    "/",
    "/system/**",
    "/infra/stores/**",
    "/infra/cluster/**",
    "/infra/tracing/audit_writer",
    "/engine/policy/**",
    "/edge/listener*",
)
PARTS = ("before", "during", "after")
LOOK = 1.0  # seconds between two looks at the gateway's health
COUNT = 5  # looks between two counts of turns
ENOUGH = 20  # turns offered before their share of errors means anything
LOUD = 10  # `chaos.fired` a second; C5
SLOWER = 1.2  # what the p99 of the second quiet window may be of the first
ABORT = 2.0  # seconds a session has to stop its synthetic runs
TRIES = 10  # of the last commit, a second apart


class EndNow(Message[None]):
    """An operator has seen enough."""

    by: str


class Ended(Message[None]):
    """To the desk: all is over, stored and cleaned up."""

    REMOTE = False
    report: Report


class Experiment(Actor):
    """Its `live` is the plan from start to end. However it ends, its hooks end with it."""

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
        self.started_at = started_at  # as all marks, by the database's clock
        self.marks = [started_at]  # where each part began
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

    async def live(self, ctx: Context) -> None:
        with inbox(ctx.system, ctx.address / "ear", "ChaosEar", self._hear) as ear:
            ear.join(EVENTS)
            ear.join(EVERYBODY)
            with self.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch, ctx)
                    if self.traffic is not None:
                        nursery.start_soon(self.traffic.run)
                    await self._parts(ctx)
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
        return await self._report(ctx)

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

    async def _parts(self, ctx: Context) -> None:
        plan, began = self.plan, trio.current_time()
        await trio.sleep_until(began + plan.before_sec)
        self.injector.start()
        await self._next_part(ctx)
        self.at_first_fault = await self._turns_so_far(ctx)
        with trio.move_on_at(began + plan.before_sec + plan.duration_sec):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.injector.strike)
                await self.injector.full.wait()
                self._end("aborted", "faults")
        self.injector.calm()
        await self._next_part(ctx)
        await trio.sleep_until(began + plan.seconds)
        if self.traffic is not None:
            await self.traffic.settle()

    async def _next_part(self, ctx: Context) -> None:
        if self.traffic is not None:
            self.traffic.part += 1
        try:
            self.marks.append(await ctx.db(rows.clock))
        except StoreError:  # ours will do
            self.marks.append(ctx.clock.now())

    async def _watch(self, ctx: Context) -> None:
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
            turns = await self._turns_so_far(ctx)
            if turns.lost > abort.lost:
                self._end("aborted", "lost")
            if len(self.marks) > 1 and error_share(turns, self.at_first_fault) > abort.error_share:
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
                report = await self._report(ctx)
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
        for key in traffic.keys:
            with suppress(NoSuchActor):
                steer.stop(ctx.system, session(MASTER_TENANT, key))
        try:
            await ctx.db(rows.sweep, tenant=MASTER_TENANT, keys=traffic.keys, agent=agent_id(self.id))
        except StoreError as trouble:
            ctx.log.warning("chaos.not_swept", plan=self.id, error=str(trouble))
        with suppress(NoSuchActor):
            steer.stop(ctx.system, agent_address(MASTER_TENANT, LOAD_AGENT))  # it remembers a row that is gone

    async def _abort(self, ctx: Context, key: str) -> None:
        """What still runs in a session. One that rests or hangs is left: its rows go all the same."""
        order = Abort(user_id=SYSTEM_USER, as_admin=True, drain=True, reason="chaos")
        with suppress(Rejected, RuntimeFault, StoreError):
            await ctx.ask(session(MASTER_TENANT, key), order, within=ABORT)

    # --- the account ----------------------------------------------------------------------------

    async def _accounts(self, ctx: Context) -> list[Account]:
        later = ctx.clock.now() + timedelta(days=1)
        faults, calm = ([*self.marks[1:], later, later])[:2]
        return await ctx.db(
            rows.account,
            tenant=MASTER_TENANT,
            keys=self.traffic.keys if self.traffic else None,
            began=self.started_at,
            faults=faults,
            calm=calm,
            until=later,
        )

    async def _turns_so_far(self, ctx: Context) -> Turns:
        """What has become of the turns; what could be read while the database was away, otherwise."""
        try:
            return self._turns(await self._accounts(ctx), 0)
        except StoreError:
            return self.at_first_fault

    def _turns(self, accounts: list[Account], missing: int) -> Turns:
        def total(name: str) -> int:
            return sum(getattr(account, name) for account in accounts)

        traffic = self.traffic
        return Turns(
            offered=traffic.offered if traffic else self.cost.offered,
            accepted=len(traffic.open) + len(traffic.ended) if traffic else total("accepted"),
            refused=traffic.refused if traffic else self.cost.refused,
            answered=total("answered"),
            failed=total("failed"),
            cancelled=total("cancelled"),
            pending=total("pending"),
            lost=total("lost") + missing,
        )

    async def _report(self, ctx: Context) -> Report:
        accounts = await self._accounts(ctx)
        missing = 0
        if self.traffic is not None:
            missing = await ctx.db(rows.missing, runs=[*self.traffic.ended, *self.traffic.open])
        turns = self._turns(accounts, missing)
        turns.duplicate_answers = await ctx.db(rows.answered_twice, began=self.started_at)
        head_repair = await ctx.db(rows.crooked_heads, began=self.started_at)
        latency = self._latency(accounts)
        state, reason = self.ending or ("running", None)
        checks = []
        if self.ending is not None:
            well = status_of(self.house) == "ok" and await database_answers(self.house)
            sent_after = self.traffic.sent[2] if self.traffic else sum(a.accepted for a in accounts if a.part == 2)
            checks = checks_of(state, reason, turns, latency, head_repair, well, sent_after > 0)
        return Report(
            id=self.id,
            seed=self.seed,
            state=state,
            reason=reason,
            started_at=self.started_at,
            ended_at=ctx.clock.now() if self.ending else None,
            turns=turns,
            latency_ms=latency,
            recovery_ms=spread([seconds * 1000 for seconds in self.injector.recoveries]),
            faults={"fired": dict(self.injector.fired), "skipped": skipped(self.injector)},
            restarts=self.cost.restarts,
            quarantines=self.cost.quarantines,
            escalations=self.cost.escalations,
            dead_letters=self.cost.dead_letters,
            head_repair=head_repair,
            effects_unknown=None,
            stale_writes_rejected=None,
            checks=checks,
            verdict=None if self.ending is None else "pass" if all(check.ok for check in checks) else "fail",
        )

    def _latency(self, accounts: list[Account]) -> dict[str, Spread]:
        """From sending to the answer for our own turns, from acceptance to the answer for those of others."""
        if self.traffic is not None:
            return {name: spread(self.traffic.took[part]) for part, name in enumerate(PARTS)}
        found = {account.part: account for account in accounts}
        return {
            name: Spread(n=found[part].n, p50=found[part].p50, p99=found[part].p99, max=found[part].longest)
            if part in found
            else Spread()
            for part, name in enumerate(PARTS)
        }

    def snapshot(self) -> dict[str, object]:
        part = PARTS[min(len(self.marks), len(PARTS)) - 1]
        return {"part": part, "fired": dict(self.injector.fired), "skipped": skipped(self.injector)}


def protected(path: Address) -> bool:
    return any(matches(glob, path) for glob in PROTECTED)


def known_as(plan_id: str, path: Address) -> str:
    """Two plans with one seed and one load meet the same faults, although their sessions have other names."""
    return path.replace(f":chaos-{plan_id[-8:]}-", ":chaos-")


def agent_id(plan_id: str) -> str:
    """Of the agent a plan made for its load: a start after a crash must find it again."""
    return f"{plan_id[:-12]}{int(plan_id[-12:], 16) ^ 1:012x}"


def skipped(injector: Injector) -> dict[str, int]:
    return {why: injector.skipped[why] for why in ("protected", "limit", "gone")}


def error_share(turns: Turns, before: Turns) -> float:
    """Of the turns offered since `before` was counted; 0 while there are too few to say."""
    offered = turns.offered - before.offered
    bad = turns.refused + turns.failed - before.refused - before.failed
    return bad / offered if offered >= ENOUGH else 0.0


def checks_of(
    state: PlanState,
    reason: str | None,
    turns: Turns,
    latency: dict[str, Spread],
    head_repair: int,
    well: bool,
    expected: bool,
) -> list[Check]:
    """`expected`: turns were sent after the faults, so that an answer is due."""
    before, after = latency["before"].p99, latency["after"].p99
    bound = None if before is None else round(before * SLOWER, 3)
    quick = bound is None or (not expected if after is None else after <= bound)
    checks = [
        Check(name="lost", ok=turns.lost == 0, got=turns.lost, want=0),
        Check(name="duplicate_answers", ok=turns.duplicate_answers == 0, got=turns.duplicate_answers, want=0),
        Check(name="head_repair", ok=head_repair == 0, got=head_repair, want=0),
        Check(name="p99_after", ok=quick, got=after, want=bound),
        Check(name="health", ok=well, got="ok" if well else "not ok", want="ok"),
    ]
    if state == "aborted":
        checks.append(Check(name="completed", ok=False, got=reason, want="duration"))
    return checks


def announce(system: System, type: str, **facts: Any) -> None:
    """Tell operators and the log. The one place every start, firing and end passes: an audit trail begins here."""
    log = structlog.get_logger()
    kept = {name: value for name, value in facts.items() if isinstance(value, str | int | float)}
    log.info(type, **{("plan" if name == "id" else name): value for name, value in kept.items()})
    system.publish(of_operators(MASTER_TENANT), ChaosEvent(type=type, body=body(**facts)))
