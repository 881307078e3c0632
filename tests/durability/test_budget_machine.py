"""Whatever calls, crashes, clocks and operators do in whatever order: no purse pays more than it has, and nothing that
was held stays held for ever. Contract: providers.md §18.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import psycopg
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.budget import Held, Payer, Quote, Scope, Short, Unit, Wanted
from goclaw.domain.chat import Usage
from goclaw.domain.ids import new_id
from goclaw.domain.price import Price, cost
from goclaw.stores import budgets, reservations, run_ends, run_recovery, run_steps
from goclaw.stores.connection import connect
from goclaw.stores.model_calls import ModelCall
from goclaw.stores.run_kept import Kept
from goclaw.stores.run_steps import Counters
from goclaw.stores.runs import Claimed, StaleOwner
from goclaw.stores.unit import Work
from tests.durability.test_run_machine import TABLES, OneConnection
from tests.durability.turns import OTHER, accept, agent_of, claim, outcome

PRICE = Price(input=Decimal(1), output=Decimal(10))
PURSES: tuple[tuple[Scope, str], ...] = (("tenant", "-"), ("user", "lan"), ("agent", "default"))
PAYERS = tuple(Payer(scope, key) for scope, key in PURSES)
NOTHING = Counters(iteration=0, current_step=0, tokens_used=0)
AT = "2026-11-21T10:00:00+00:00"

which = st.sampled_from(PURSES)
units = st.sampled_from(["usd", "tokens"])
windows = st.sampled_from(["day", "month", "total"])
lengths = st.integers(1, 20)


@dataclass
class Call:
    """A call under way: what is held, by which life of which run."""

    held: Held
    run: Claimed
    number: int


class Machine(RuleBasedStateMachine):
    calls = Bundle("calls")

    def __init__(self, dsn: str) -> None:
        super().__init__()
        self.admin = psycopg.connect(dsn, autocommit=True)
        self.admin.execute(f"TRUNCATE {TABLES}, model_calls, budget_purses, budget_reservations CASCADE")
        self.database: Any = OneConnection(trio.run(connect, dsn))
        self.agent = trio.run(agent_of, self.database)
        self.runs: list[Claimed] = []
        self.numbers = 0
        self.lowered: set[str] = set()  # purses whose limit went below what was spent
        for _ in range(3):
            self.begin()
        self.put(("tenant", "-"), "usd", "month", 90)
        self.put(("user", "lan"), "tokens", "day", 90)

    def unit(self, work: Work[..., Any], *args: Any, **kwargs: Any) -> Any:
        return trio.run(lambda: self.database.run(work, *args, **kwargs))

    @rule()
    def begin(self) -> None:
        """Another run, and those whose former life ended."""

        async def now() -> list[Claimed]:
            key = f"agent:default:ws:direct:{len(self.runs)}"
            await accept(self.database, self.agent, "hi", key)
            waiting = {run.session_key for run in self.runs} | {key}
            return await claim(self.database, *sorted(waiting), limit=100)

        self.runs += trio.run(now)

    @rule(purse=which, unit=units, window=windows, limit=st.none() | st.integers(0, 90))
    def put(self, purse: tuple[Scope, str], unit: Unit, window: Any, limit: int | None) -> None:
        amount = None if limit is None else Decimal(limit) * (1 if unit == "tokens" else Decimal("0.00001"))
        named = {"scope": purse[0], "key": purse[1], "unit": unit, "window": window}
        made = self.unit(budgets.put, tenant=MASTER_TENANT, **named, limit=amount, mode="hard", by="ada")
        self.lowered.discard(made.id)
        if made.left is not None and made.left < 0:
            self.lowered.add(made.id)

    @rule(amount=st.integers(1, 20))
    def grant(self, amount: int) -> None:
        for purse in self.unit(budgets.find, tenant=MASTER_TENANT):
            each = Decimal(amount) * (1 if purse.unit == "tokens" else Decimal("0.00001"))
            self.unit(budgets.grant, tenant=MASTER_TENANT, id=purse.id, amount=each)

    @rule(
        target=calls,
        run=st.integers(0, 20),
        prompt=st.integers(0, 10),
        most=st.integers(1, 30),
        least=st.integers(1, 9),
    )
    def reserve(self, run: int, prompt: int, most: int, least: int) -> Any:
        life = self.runs[run % len(self.runs)]
        quote = Quote(provider="p", model="m", price=PRICE, input_tokens=prompt, max_tokens=most, least=least)
        before = self.unit(budgets.find, tenant=MASTER_TENANT)
        wanted = Wanted(
            id=new_id(),
            tenant_id=MASTER_TENANT,
            run_id=life.run_id,
            fence=life.fence,
            step=0,
            payers=PAYERS,
            quote=quote,
            within=60.0,
        )
        answer = self.unit(reservations.reserve, wanted)
        if isinstance(answer, Short):
            assert answer.purse.left is not None
            assert min(quote.fits(purse) for purse in before) < min(least, most)
            assert self.unit(budgets.find, tenant=MASTER_TENANT) == before, "one refusal rolls all back"
            return multiple()
        assert min(least, most) <= answer.max_tokens <= most
        return Call(answer, life, self.number()) if answer.id else multiple()

    @rule(call=consumes(calls), used=st.integers(0, 30), ends=st.booleans(), twice=st.booleans())
    def settle(self, call: Call, used: int, ends: bool, twice: bool) -> None:
        """With a step or the end of the run. It answered no longer than it might."""
        usage = Usage(prompt_tokens=call.held.input_tokens, completion_tokens=min(used, call.held.max_tokens))
        spent = cost(usage, PRICE)
        assert spent is not None
        made = ModelCall(
            number=call.number,
            provider="p",
            model="m",
            status="completed",
            input_tokens=usage.prompt_tokens,
            output_tokens=usage.completion_tokens,
            total_cost=spent,
            start_time=AT,  # type: ignore[arg-type]
            duration_ms=1,
            reservations=(call.held.id,),
            spent=spent,
            spent_tokens=usage.total_tokens,
        )
        kept = Kept(calls=(made,), payers=PAYERS)
        try:
            for _ in range(1 + twice):
                self.unit(run_steps.keep, call.run, NOTHING, kept=kept)
            if ends:
                self.unit(run_ends.succeed, call.run, result=outcome(call.run, "yes"), messages=[], kept=kept)
        except StaleOwner:
            return  # it died, or ended; the reaper has what it held

    @rule(call=calls)
    def release(self, call: Call) -> None:
        self.unit(reservations.release, tenant=MASTER_TENANT, id=call.held.id)

    @rule(call=calls)
    def expire(self, call: Call) -> None:
        """It takes longer than a call may, and comes back after all."""
        query = "UPDATE budget_reservations SET expires_at = now() - interval '1 s' WHERE id = %s"
        self.admin.execute(query, [call.held.id])
        self.unit(reservations.reap)

    @rule()
    def crash(self) -> None:
        """A process dies, and another takes its runs."""
        self.admin.execute("UPDATE runs SET lease_expires_at = now() - interval '1 s' WHERE state = 'RUNNING'")
        for orphan in self.unit(run_recovery.orphans, node=OTHER, alone=False):
            self.unit(run_recovery.recover, orphan, "lease")

    @rule(days=st.sampled_from([1, 31]), run=st.integers(0, 20))
    def time_passes(self, days: int, run: int) -> None:
        """A window ends with calls under way, and the next begins with another."""
        self.admin.execute("UPDATE budget_purses SET window_start = window_start - make_interval(days => %s)", [days])
        self.admin.execute(
            """UPDATE budget_reservations
            SET windows = ARRAY(SELECT w - make_interval(days => %s) FROM unnest(windows) AS w)""",
            [days],
        )
        self.reserve(run, 0, 1, 1)

    @rule()
    def reap(self) -> None:
        self.unit(reservations.reap)

    # --- what must be so ------------------------------------------------------------------------

    @invariant()
    def no_purse_pays_more_than_it_has(self) -> None:
        for purse in self.unit(budgets.find, tenant=MASTER_TENANT):
            if purse.left is None or purse.left >= 0:
                self.lowered.discard(purse.id)
            else:
                assert purse.id in self.lowered, purse

    @invariant()
    def what_is_reserved_is_what_is_held(self) -> None:
        query = """
        SELECT p.reserved, coalesce(sum(CASE p.unit WHEN 'usd' THEN r.amount ELSE r.tokens END), 0)
        FROM budget_purses p LEFT JOIN (
          budget_reservations r CROSS JOIN LATERAL unnest(r.purse_ids, r.windows) AS u(purse, since)
        ) ON r.state = 'HELD' AND u.purse = p.id AND u.since = p.window_start
        GROUP BY p.id, p.reserved
        """
        for reserved, held in self.admin.execute(query):
            assert reserved == held

    @invariant()
    def what_was_spent_is_what_was_settled(self) -> None:
        query = """
        SELECT p.spent, sum(r.settled) FROM budget_purses p JOIN (
          budget_reservations r CROSS JOIN LATERAL unnest(r.purse_ids, r.windows) AS u(purse, since)
        ) ON r.state IN ('SETTLED', 'LOST', 'RELEASED') AND u.purse = p.id AND u.since = p.window_start
        WHERE p.unit = 'usd' GROUP BY p.id, p.spent
        """
        for spent, settled in self.admin.execute(query):
            assert spent == settled

    def teardown(self) -> None:
        """Everybody is dead: nothing stays held."""
        self.admin.execute("UPDATE runs SET lease_expires_at = now() - interval '1 s'")
        self.unit(reservations.reap)
        assert [purse.reserved for purse in self.unit(budgets.find, tenant=MASTER_TENANT) if purse.reserved] == []
        self.database.db.close_now()
        self.admin.close()

    def number(self) -> int:
        self.numbers += 1
        return self.numbers


def test_no_purse_is_overdrawn_and_none_leaks_whatever_happens(dsn: str) -> None:
    run_machine(lambda: Machine(dsn), settings=settings(max_examples=20, stateful_step_count=30, deadline=None))
