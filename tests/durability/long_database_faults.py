"""The database is shot at for minutes: `make chaos`. Contract: reliability.md T8, T10, T11."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import trio

from tests.durability.lives import Lives
from tests.durability.weather import Health, Weather, fill, kill_a_backend, kill_the_postmaster
from tests.fakes.scripted import ScriptedVendor

BACKENDS, EVERY = 60, 2.0  # one killed every 2 s for 2 min
POSTMASTERS = 5
FULL = 60.0  # seconds without space


def report(what: str, weather: Weather, again: list[float]) -> None:
    rows = {**weather.counts._asdict(), "refused, said again": sum(len(t.refusals) for t in weather.talkers)}
    rows |= {
        "answers again after, s, median": round(sorted(again)[len(again) // 2], 2),
        "longest": round(max(again), 2),
    }
    print(f"\n{what}\n" + "\n".join(f"{name:<32}{value:>10}" for name, value in rows.items()))  # noqa: T201


async def test_a_backend_killed_every_two_seconds_for_two_minutes(
    lives: Callable[..., Lives], vendor: ScriptedVendor
) -> None:
    gateway = lives()
    gateway.live()
    weather = Weather(gateway, vendor, clients=20)
    again: list[float] = []

    async def faults(health: Health) -> None:
        killed = 0
        while killed < BACKENDS:
            began = trio.current_time()
            if kill_a_backend(gateway, weather.random):
                killed += 1
                again.append(await weather.answers_again(within=20))
            await trio.sleep(max(0.05, EVERY - (trio.current_time() - began)))

    await weather.during(faults)
    report(f"{BACKENDS} backends killed", weather, again)


async def test_five_postmasters_killed(lives: Callable[..., Lives], vendor: ScriptedVendor) -> None:
    gateway = lives()
    gateway.live()
    weather = Weather(gateway, vendor, clients=20)
    again: list[float] = []

    async def faults(health: Health) -> None:
        for _ in range(POSTMASTERS):
            await kill_the_postmaster(gateway)
            again.append(await weather.answers_again(within=20))
            await trio.sleep(3)

    await weather.during(faults)
    report(f"{POSTMASTERS} postmasters killed", weather, again)


async def test_a_minute_without_space(disk: Path, lives: Callable[..., Lives], vendor: ScriptedVendor) -> None:
    gateway = lives(database={"embedded": {"dir": str(disk / "pg")}})
    gateway.cluster = disk / "pg"
    gateway.live()
    weather = Weather(gateway, vendor, clients=20)
    again: list[float] = []

    async def faults(health: Health) -> None:
        await weather.answers_again(within=10)
        ballast = fill(disk)
        await weather.is_refused(times=20, within=20)
        await trio.sleep(FULL)
        ballast.unlink()
        again.append(await weather.answers_again(within=10))

    await weather.during(faults)
    assert weather.refusals <= {"UNAVAILABLE"}
    report(f"{FULL:g} s without space", weather, again)
