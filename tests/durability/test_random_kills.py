"""A few seconds of what `make chaos` does for long: kill -9 at random moments under load. Contract: E2, T7."""

from __future__ import annotations

from collections.abc import Callable

from tests.durability.lives import Lives
from tests.durability.storm import Storm
from tests.fakes.scripted import ScriptedVendor


async def test_five_kills_under_load_lose_and_double_nothing(
    lives: Callable[..., Lives], vendor: ScriptedVendor
) -> None:
    storm = Storm(lives(), vendor, clients=8, inputs=120, kills=5)

    await storm.blow()

    assert storm.counts.answered >= 120
