"""Orderly stops at random moments under load: `make chaos`. Contract: durability.md E11."""

from __future__ import annotations

from collections.abc import Callable

from tests.durability.lives import Lives
from tests.durability.storm import Storm
from tests.fakes.scripted import ScriptedVendor


async def test_ten_stops_under_load_cost_no_turn_and_no_attempt(
    lives: Callable[..., Lives], vendor: ScriptedVendor
) -> None:
    storm = Storm(lives(), vendor, clients=20, inputs=500, kills=10, gently=True)

    await storm.blow()

    print(f"\n{storm.table()}")  # noqa: T201 - the table is what it is run for
    assert {(run.attempt, run.crash_count) for run in storm.evidence.runs} == {(1, 0)}
