"""Whatever happens to runs in whatever order, the store and a model of one page agree, and the trail is sound.

Contract: durability.md §4, §5, §6; sessions-lanes-cron.md §9.2.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import psycopg
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.ids import new_id
from goclaw.domain.run import RunKind
from goclaw.stores import run_claims, run_ends, run_recovery, run_retries, run_stops
from goclaw.stores.connection import Connection, connect
from goclaw.stores.run_ends import Fault
from goclaw.stores.run_recovery import CRASHES, Cause
from goclaw.stores.runs import Claimed, StaleOwner
from goclaw.stores.unit import Work
from tests.durability.checker import chain, fence, gather, order, path, sequence
from tests.durability.turns import NODE, OTHER, accept, agent_of, outcome, spoken

SOUND = (path, chain, sequence, order, fence)
MOST = {"agent:default:ws:direct:one": 1, "agent:default:ws:direct:three": 3}  # session → runs at once
FAULT = Fault(fingerprint="f" * 64, alike=1)
TABLES = "runs, run_events, session_heads, sessions, session_messages, run_steps"

key = st.sampled_from(list(MOST))
node = st.sampled_from([NODE, OTHER])


@dataclass
class Model:
    """A run as the contract sees it."""

    id: str
    session: str
    kind: RunKind
    state: str = "QUEUED"
    attempt: int = 0
    crashes: int = 0
    fence: int = 0
    stopping: bool = False
    due: bool = True

    @property
    def waits(self) -> bool:
        return self.state in ("QUEUED", "RETRY_WAIT")

    def claimed(self) -> None:
        self.state, self.attempt, self.fence = "RUNNING", self.attempt + 1, self.fence + 1


@dataclass
class OneConnection:
    """What `Database.run` is to a gateway, without a pool: every step of an example has a loop of its own."""

    db: Connection
    done: list[str] = field(default_factory=list)

    async def run(self, work: Work[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        self.done.append(work.name)
        async with self.db.transaction():
            return await work(self.db, *args, **kwargs)


class Machine(RuleBasedStateMachine):
    held = Bundle("held")  # claims, fresh and stale
    ids = Bundle("ids")

    def __init__(self, dsn: str) -> None:
        super().__init__()
        self.dsn = dsn
        self.admin = psycopg.connect(dsn, autocommit=True)
        self.admin.execute(f"TRUNCATE {TABLES} CASCADE")
        self.database: Any = OneConnection(trio.run(connect, dsn))
        self.agent = self.do(agent_of)
        self.runs: dict[str, Model] = {}

    def do(self, work: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **kwargs: Any) -> Any:
        async def now() -> Any:
            return await work(self.database, *args, **kwargs)

        return trio.run(now)

    def unit(self, work: Work[..., Any], *args: Any, **kwargs: Any) -> Any:
        return trio.run(lambda: self.database.run(work, *args, **kwargs))

    def of(self, session: str, *states: str) -> list[Model]:
        return [run for run in self.runs.values() if run.session == session and run.state in states]

    def waiting(self, session: str) -> list[Model]:
        return sorted(self.of(session, "QUEUED", "RETRY_WAIT"), key=lambda run: run.id)

    def mine(self, claim: Claimed) -> Model | None:
        """The run, if the claim still holds it."""
        run = self.runs[claim.run_id]
        return run if run.state == "RUNNING" and run.fence == claim.fence else None

    # --- what happens ---------------------------------------------------------------------------

    @rule(target=ids, session=key, kind=st.sampled_from(["chat", "task", "wake", "http"]), at=st.none() | node)
    def accept(self, session: str, kind: RunKind, at: str | None) -> str:
        idle = not self.waiting(session) and len(self.of(session, "RUNNING")) < MOST[session]
        text = f"n{len(self.runs)}"
        run_id = self.do(accept, self.agent, text, session, kind=kind, most=MOST[session], node=at)
        assert isinstance(run_id, str)
        run = self.runs[run_id] = Model(run_id, session, kind)
        if idle and at is not None:
            run.claimed()
        return run_id

    @rule(target=held, sessions=st.sets(key, min_size=1), at=node)
    def claim(self, sessions: set[str], at: str) -> Any:
        expected = []
        for session in sessions:
            waiting = self.waiting(session)
            if waiting and waiting[0].due and len(self.of(session, "RUNNING")) < MOST[session]:
                expected.append(waiting[0])
        wanted = [(MASTER_TENANT, session) for session in sorted(sessions)]
        claims = self.unit(run_claims.claim, node=at, lane="main", sessions=wanted, limit=8)
        assert sorted(claim.run_id for claim in claims) == sorted(run.id for run in expected)
        for run in expected:
            run.claimed()
        for claim in claims:
            run = self.runs[claim.run_id]
            assert (claim.attempt, claim.fence, claim.crash_count) == (run.attempt, run.fence, run.crashes)
        return multiple(*claims)

    @rule(target=held, at=node)
    def look_up(self, at: str) -> Any:
        """Runs that were started with their acceptance."""
        return multiple(*self.unit(run_claims.owned, node=at, lane="main"))

    @rule(claim=held)
    def succeed(self, claim: Claimed) -> None:
        run = self.mine(claim)
        allowed = run is not None and not run.stopping
        self.leaves(allowed, run_ends.succeed, claim, result=outcome(claim, "yes"), messages=spoken(claim, "yes"))
        if run is not None and allowed:
            run.state = "SUCCEEDED"

    @rule(claim=held, dead=st.sampled_from([None, "DEAD_LETTER_POISON_PILL"]))
    def fail(self, claim: Claimed, dead: str | None) -> None:
        run = self.mine(claim)
        more: dict[str, Any] = {"reason": "FAILED_PROVIDER", "error": "no", "fault": FAULT, "dead": dead}
        self.leaves(run is not None, run_ends.fail, claim, result=outcome(claim), messages=spoken(claim), **more)
        if run is not None:
            run.state = "DEAD_LETTER" if dead else "FAILED"

    @rule(claim=held, due=st.booleans())
    def retry(self, claim: Claimed, due: bool) -> None:
        run = self.mine(claim)
        allowed = run is not None and not run.stopping
        delay = 0.0 if due else 45.0
        self.leaves(allowed, run_ends.retry, claim, reason="RETRY_PROVIDER", error="no", fault=FAULT, delay=delay)
        if run is not None and allowed:
            run.state, run.due = "RETRY_WAIT", due

    @rule(claim=held)
    def cancel(self, claim: Claimed) -> None:
        run = self.mine(claim)
        result = outcome(claim, cancelled=True)
        self.leaves(run is not None, run_ends.cancel, claim, result=result, reason="CANCELED", messages=spoken(claim))
        if run is not None:
            run.state = "CANCELED"

    @rule(claim=held)
    def put_back(self, claim: Claimed) -> None:
        run = self.mine(claim)
        self.leaves(run is not None, run_recovery.put_back, claim, reason="RELEASE_SHUTDOWN")
        if run is not None:
            run.state, run.attempt = self.unless_given_up(run, "QUEUED"), run.attempt - 1

    @rule(claim=held, cause=st.sampled_from(["crash", "lease", "restart"]))
    def recover(self, claim: Claimed, cause: Cause) -> None:
        """Its owner died, or its actor did."""
        run = self.mine(claim)
        self.leaves(run is not None, run_recovery.recover, claim, cause)
        if run is None:
            return
        run.attempt, run.crashes = run.attempt - 1, run.crashes + 1
        if run.crashes >= CRASHES:
            run.state = "DEAD_LETTER"
        else:
            run.state = self.unless_given_up(run, "RETRY_WAIT" if cause == "crash" else "QUEUED")

    @rule(at=node)
    def expire(self, at: str) -> None:
        """Leases end; whoever looks finds the runs of others, and takes none that is its own."""
        self.admin.execute("UPDATE runs SET lease_expires_at = now() - interval '1 s' WHERE state = 'RUNNING'")
        for claim in self.unit(run_recovery.orphans, node=at, alone=False):
            assert claim.lease_owner != at
            self.recover(claim, "lease")

    @rule(run_id=ids)
    def request_cancel(self, run_id: str) -> None:
        run = self.runs[run_id]
        stopping = self.unit(run_stops.request_cancel, tenant=MASTER_TENANT, run_ids=[run_id], by="ada", reason="stop")
        assert [(one.run_id, one.over) for one in stopping] == (
            [(run_id, run.waits)] if run.waits or run.state == "RUNNING" else []
        )
        if run.waits:
            run.state = "CANCELED"
        elif run.state == "RUNNING":
            run.stopping = True

    @rule(session=key)
    def drain(self, session: str) -> None:
        waiting = self.waiting(session)
        gone = self.unit(run_stops.cancel_waiting, tenant=MASTER_TENANT, key=session, reason="CANCELED")
        assert [one.run_id for one in gone] == [run.id for run in waiting]
        for run in waiting:
            run.state = "CANCELED"

    @rule(target=ids, run_id=consumes(ids), fresh=st.booleans())
    def try_again(self, run_id: str, fresh: bool) -> Any:
        run, other = self.runs[run_id], new_id()
        more = {"new_id": other, "kind": run.kind, "by": "op", "fresh": fresh}
        again = self.unit(run_retries.try_again, tenant=MASTER_TENANT, run_id=run_id, **more)
        if run.state == "FAILED":
            assert (again.run_id, again.new) == (run_id, False)
            run.state, run.attempt, run.crashes, run.stopping, run.due = "RETRY_WAIT", 0, 0, False, True
        elif run.state in ("CANCELED", "DEAD_LETTER"):
            assert (again.run_id, again.new) == (other, True)
            self.runs[other] = Model(other, run.session, run.kind)
            return multiple(run_id, other)
        else:
            assert again is None
        return run_id

    @rule()
    def time_passes(self) -> None:
        """What waits for its next try is due."""
        self.admin.execute("UPDATE runs SET available_at = now() WHERE state = 'RETRY_WAIT'")
        self.admin.execute("UPDATE session_heads SET head_at = now() WHERE queued > 0")
        for run in self.runs.values():
            run.due = True

    # --- what must be so ------------------------------------------------------------------------

    @invariant()
    def every_run_is_where_the_model_says(self) -> None:
        query = "SELECT run_id::text, state, attempt, crash_count, fence, cancel_requested IS NOT NULL FROM runs"
        stored = {row[0]: row[1:] for row in self.admin.execute(query).fetchall()}
        assert stored == {r.id: (r.state, r.attempt, r.crashes, r.fence, r.stopping) for r in self.runs.values()}

    @invariant()
    def the_heads_count_right(self) -> None:
        for session, queued, running in self.admin.execute("SELECT session_key, queued, running FROM session_heads"):
            assert (queued, running) == (len(self.waiting(session)), len(self.of(session, "RUNNING")))

    def teardown(self) -> None:
        evidence = gather(self.dsn, [])
        self.database.db.close_now()
        self.admin.close()
        assert [problem for check in SOUND for problem in check(evidence)] == []

    # --- parts ----------------------------------------------------------------------------------

    def leaves(self, allowed: bool, work: Work[..., Any], *args: Any, **kwargs: Any) -> None:
        """It does what it is for, or refuses and changes nothing, which the invariants see."""
        try:
            self.unit(work, *args, **kwargs)
        except StaleOwner:
            assert not allowed
        else:
            assert allowed

    def unless_given_up(self, run: Model, state: str) -> str:
        return "CANCELED" if run.stopping or run.kind == "http" else state


def test_the_store_and_the_model_agree_whatever_happens(dsn: str) -> None:
    run_state_machine_as_test(
        lambda: Machine(dsn), settings=settings(max_examples=40, stateful_step_count=40, deadline=None)
    )
