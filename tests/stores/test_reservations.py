"""What calls hold and what they took, on the real database. Contract: providers.md §18."""

from __future__ import annotations

from decimal import Decimal

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.budget import Held, Payer, Purse, Quote, Wanted
from goclaw.domain.ids import new_id
from goclaw.domain.price import Price
from goclaw.stores import budgets, reservations, run_steps
from goclaw.stores.database import Database
from goclaw.stores.run_kept import Kept
from goclaw.stores.runs import Claimed
from goclaw.stores.unit import Connection, transaction
from tests.stores.test_model_calls import call
from tests.stores.test_run_lives import COUNTERS
from tests.stores.test_runs import accept, claim

TENANT = (Payer("tenant", "-"),)
PRICE = Price(input=Decimal(0), output=Decimal(10))
EACH = Decimal("0.0002")  # usd of 20 tokens


async def made(database: Database) -> Claimed:
    """A run, and a purse of the tenant for ten calls a month."""
    await database.run(
        budgets.put,
        tenant=MASTER_TENANT,
        scope="tenant",
        key="-",
        unit="usd",
        window="month",
        limit=10 * EACH,
        mode="hard",
        by="ada",
    )
    await accept(database)
    (run,) = await claim(database)
    return run


async def hold(database: Database, run: Claimed) -> Held:
    wanted = Wanted(
        id=new_id(),
        tenant_id=MASTER_TENANT,
        run_id=run.run_id,
        fence=run.fence,
        step=0,
        payers=TENANT,
        quote=Quote(provider="p", model="m", price=PRICE, input_tokens=0, max_tokens=20, least=20),
        within=60.0,
    )
    held = await database.run(reservations.reserve, wanted)
    assert isinstance(held, Held)
    return held


async def purse(database: Database) -> Purse:
    (found,) = await database.run(budgets.find, tenant=MASTER_TENANT)
    return found


async def test_an_answer_that_was_asked_for_again_is_booked_once_for_all_it_held(database: Database) -> None:
    run = await made(database)
    first, second = await hold(database, run), await hold(database, run)
    assert (await purse(database)).reserved == 2 * EACH

    done = call(total_cost=EACH, reservations=(first.id, second.id), spent=EACH, spent_tokens=20)
    for _ in range(2):
        await database.run(run_steps.keep, run, COUNTERS, kept=Kept(calls=(done,), payers=TENANT))

    after = await purse(database)
    assert (after.spent, after.reserved) == (EACH, 0)


@transaction
async def a_month_ago(db: Connection) -> None:
    await db.execute("UPDATE budget_purses SET window_start = window_start - interval '1 month'")
    query = "UPDATE budget_reservations SET windows = ARRAY(SELECT w - interval '1 month' FROM unnest(windows) AS w)"
    await db.execute(query)


async def test_a_call_over_the_end_of_a_month_is_booked_once_and_burdens_no_next_one(database: Database) -> None:
    """BU-7."""
    run = await made(database)
    old = await hold(database, run)
    await database.run(a_month_ago)
    await hold(database, run)
    settled = call(total_cost=EACH, reservations=(old.id,), spent=EACH, spent_tokens=20)
    await database.run(run_steps.keep, run, COUNTERS, kept=Kept(calls=(settled,), payers=TENANT))

    after = await purse(database)
    assert (after.spent, after.reserved) == (0, EACH)
