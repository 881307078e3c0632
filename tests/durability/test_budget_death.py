"""A process is killed with calls under way: nothing stays held, and what went out is booked. Contract: §18 BU-2."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import trio

from tests.durability.lives import Lives
from tests.durability.patience import until
from tests.fakes.scripted import ScriptedVendor

PRICING = {"fake/*": {"input_per_million": 1, "output_per_million": 10}}
CALLS = 20
PURSE = "SELECT spent, reserved FROM budget_purses"
CLOSED = "SELECT state, count(*), sum(settled), sum(input_amount) FROM budget_reservations GROUP BY 1 ORDER BY 1"


async def test_a_process_killed_with_calls_under_way_leaks_nothing(
    lives: Callable[..., Lives], vendor: ScriptedVendor
) -> None:
    gateway = lives(telemetry={"model_pricing": PRICING})
    gateway.live()
    async with gateway.client() as client:
        await client.ask("budgets.set", scope="tenant", key="-", limit=100, window="total")
        for number in range(CALLS):
            key = f"agent:default:ws:direct:{number}"
            sent = {"message": f"n{number} hold", "sessionKey": key, "async": True}
            await client.ask("chat.send", **sent, idempotencyKey=f"k{number}")
        await vendor.holds(CALLS)
        ((spent, reserved),) = gateway.rows(PURSE)
        assert (spent, reserved > CALLS * Decimal("0.08")) == (0, True)
        gateway.kill()

    vendor.release()
    gateway.live()
    await gateway.quiet()
    await until(lambda: gateway.rows(PURSE)[0][1] == 0, within=30)
    await trio.lowlevel.checkpoint()

    lost, settled = gateway.rows(CLOSED)
    ((spent, _),) = gateway.rows(PURSE)
    ((bill,),) = gateway.rows("SELECT sum(total_cost) FROM model_calls")
    assert (lost[0], lost[1], settled[0], settled[1]) == ("LOST", CALLS, "SETTLED", CALLS)
    assert lost[2] == lost[3] > 0, "of what was lost the prompts are booked"
    assert spent == lost[2] + settled[2]
    assert settled[2] == bill
