"""The database is shot at under load: the gateway stays and loses nothing. Contract: reliability.md T8, T10."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.durability.lives import Lives
from tests.durability.weather import Health, Weather, fill, kill_a_backend, kill_the_postmaster
from tests.fakes.scripted import ScriptedVendor


async def test_killed_backends_and_a_killed_postmaster_cost_no_turn(
    lives: Callable[..., Lives], vendor: ScriptedVendor
) -> None:
    gateway = lives()
    gateway.live()
    weather = Weather(gateway, vendor, clients=6)

    async def faults(health: Health) -> None:
        await weather.answers_again(within=10)
        for _ in range(2):
            assert kill_a_backend(gateway, weather.random)
            assert await weather.answers_again(within=10) < 10
        await kill_the_postmaster(gateway)
        assert await weather.answers_again(within=10) < 10

    await weather.during(faults)


async def test_a_full_database_disk_refuses_turns_and_heals_alone(
    disk: Path, lives: Callable[..., Lives], vendor: ScriptedVendor
) -> None:
    gateway = lives(database={"embedded": {"dir": str(disk / "pg")}})
    gateway.cluster = disk / "pg"
    gateway.live()
    weather = Weather(gateway, vendor, clients=4)

    async def faults(health: Health) -> None:
        await weather.answers_again(within=10)
        ballast = fill(disk)
        await weather.is_refused(times=8, within=60)
        await health.becomes("degraded", within=60)
        ballast.unlink()
        assert await weather.answers_again(within=5) < 5

    await weather.during(faults)
    assert weather.refusals <= {"UNAVAILABLE"}
