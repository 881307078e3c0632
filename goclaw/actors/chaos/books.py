"""The account of a plan: what became of the turns, what broke, and whether that is good enough."""

from __future__ import annotations

from datetime import datetime, timedelta

from goclaw.actors.chaos.cost import Cost, spread
from goclaw.actors.chaos.load import Traffic
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.chaos import Check, PlanState, Report, Spread, Turns
from goclaw.domain.errors import StoreError
from goclaw.operations.context import House
from goclaw.operations.gateway import database_answers, status_of
from goclaw.runtime.inject import Injector
from goclaw.stores import chaos as rows
from goclaw.stores.chaos import Account

PARTS = ("before", "during", "after")
ENOUGH = 20  # turns offered before their share of errors means anything
SLOWER = 1.2  # what the p99 of the second quiet window may be of the first


class Books:
    """All times are the database's, which stamps the rows that are counted."""

    def __init__(
        self,
        house: House,
        plan_id: str,
        seed: int,
        started_at: datetime,
        traffic: Traffic | None,
        cost: Cost,
        injector: Injector,
    ) -> None:
        self.house = house
        self.plan_id = plan_id
        self.seed = seed
        self.marks = [started_at]  # where each part began
        self.traffic = traffic
        self.cost = cost
        self.injector = injector
        self.db = house.system.database.run

    @property
    def part(self) -> int:
        return len(self.marks) - 1

    async def next_part(self) -> None:
        if self.traffic is not None:
            self.traffic.part += 1
        try:
            self.marks.append(await self.db(rows.clock))
        except StoreError:  # ours will do
            self.marks.append(self.house.system.clock.now())

    async def turns(self) -> Turns | None:
        """What has become of the turns so far; None while the database is away."""
        try:
            return self._turns(await self._accounts(), 0)
        except StoreError:
            return None

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

    async def report(self, state: PlanState = "running", reason: str | None = None) -> Report:
        """Raises StoreError."""
        accounts = await self._accounts()
        missing = 0
        if self.traffic is not None:
            missing = await self.db(rows.missing, runs=[*self.traffic.ended, *self.traffic.open])
        turns = self._turns(accounts, missing)
        turns.duplicate_answers = await self.db(rows.answered_twice, began=self.marks[0])
        head_repair = await self.db(rows.crooked_heads, began=self.marks[0])
        latency = self._latency(accounts)
        checks = []
        if state != "running":
            well = status_of(self.house) == "ok" and await database_answers(self.house)
            sent_after = self.traffic.sent[2] if self.traffic else sum(a.accepted for a in accounts if a.part == 2)
            checks = checks_of(state, reason, turns, latency, head_repair, well, sent_after > 0)
        return Report(
            id=self.plan_id,
            seed=self.seed,
            state=state,
            reason=reason,
            started_at=self.marks[0],
            ended_at=self.house.system.clock.now() if state != "running" else None,
            turns=turns,
            latency_ms=latency,
            recovery_ms=spread([seconds * 1000 for seconds in self.injector.recoveries]),
            faults=faults_of(self.injector),
            restarts=self.cost.restarts,
            quarantines=self.cost.quarantines,
            escalations=self.cost.escalations,
            dead_letters=self.cost.dead_letters,
            head_repair=head_repair,
            effects_unknown=None,
            stale_writes_rejected=None,
            checks=checks,
            verdict=None if state == "running" else "pass" if all(check.ok for check in checks) else "fail",
        )

    async def _accounts(self) -> list[Account]:
        later = self.house.system.clock.now() + timedelta(days=1)
        faults, calm = ([*self.marks[1:], later, later])[:2]
        found: list[Account] = await self.db(
            rows.account,
            tenant=MASTER_TENANT,
            keys=self.traffic.keys if self.traffic else None,
            began=self.marks[0],
            faults=faults,
            calm=calm,
            until=later,
        )
        return found

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


def faults_of(injector: Injector) -> dict[str, dict[str, int]]:
    skipped = {why: injector.skipped[why] for why in ("protected", "limit", "gone")}
    return {"fired": dict(injector.fired), "skipped": skipped}


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
