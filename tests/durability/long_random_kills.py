"""100 kills at random moments during 10,000 inputs: `make chaos`. Contract: durability.md E2, reliability.md T7."""

from __future__ import annotations

from collections.abc import Callable

from tests.durability.lives import Lives
from tests.durability.storm import Storm
from tests.fakes.scripted import ScriptedVendor


async def test_a_hundred_kills_during_ten_thousand_inputs(lives: Callable[..., Lives], vendor: ScriptedVendor) -> None:
    storm = Storm(lives(), vendor, clients=40, inputs=10_000, kills=100)

    await storm.blow()

    print(f"\n{storm.table()}")  # noqa: T201 - the table is what it is run for
    assert storm.counts.answered >= 10_000
