"""Kept aside, because it fails: a gateway whose database has no space refuses every turn and still says "ok".

Its look at the database only reads. Contract: reliability.md §6 (checker truth), T10.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.durability.lives import Lives
from tests.durability.weather import Health, Weather, fill
from tests.fakes.scripted import ScriptedVendor


async def test_health_says_degraded_while_there_is_no_space(
    disk: Path, lives: Callable[..., Lives], vendor: ScriptedVendor
) -> None:
    gateway = lives(database={"embedded": {"dir": str(disk / "pg")}})
    gateway.cluster = disk / "pg"
    gateway.live()
    weather = Weather(gateway, vendor, clients=4)

    async def faults(health: Health) -> None:
        await weather.answers_again(within=10)
        ballast = fill(disk)
        await weather.is_refused(times=1, within=15)
        await health.becomes("degraded", within=5)
        ballast.unlink()

    await weather.during(faults)
