"""How often tools are called in an hour. Contract: tools.md §7 (black box), T6."""

from __future__ import annotations

from trio.testing import MockClock

from goclaw.actors.engine.rates import HOPPING, Rates
from goclaw.domain.address import RATES
from goclaw.domain.rates import TakeCall, TooMany
from goclaw.runtime.child import child
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import System, open_system
from goclaw.settings.tools import Tools
from tests.runtime.house import NoDatabase


def tree(settings: Tools) -> Supervisor:
    policy = child("policy", lambda: Supervisor([child("rates", Rates, settings)]))
    return Supervisor([child("engine", lambda: Supervisor([policy]))])


async def take(system: System, session: str = "s", payer: str = "p") -> TooMany | None:
    return await system.ask(RATES, TakeCall(session=session, payer=payer), within=5)


async def test_the_call_beyond_the_limit_waits_for_the_hour_to_pass(mock_clock: MockClock) -> None:
    async with open_system(NoDatabase()) as system:
        await system.start(child("", tree, Tools(rate_limit_per_hour=3)))
        assert [await take(system) for _ in range(3)] == [None, None, None]
        much = await take(system)
        assert much is not None
        assert (much.limit, round(much.wait)) == (3, 3600)
        mock_clock.jump(3599)
        assert await take(system) is not None  # a refused call took nothing, and the first is not an hour old
        mock_clock.jump(2)
        assert [await take(system) for _ in range(3)] == [None, None, None]


async def test_another_session_is_free_until_its_user_has_called_enough(mock_clock: MockClock) -> None:
    async with open_system(NoDatabase()) as system:
        await system.start(child("", tree, Tools(rate_limit_per_hour=1)))
        calls = [await take(system, f"s{number}") for number in range(HOPPING + 1)]
        assert calls[:HOPPING] == [None] * HOPPING
        assert calls[HOPPING] is not None
        assert await take(system, f"s{HOPPING}", "other") is None  # the refused call left its session free


async def test_no_limit_is_no_limit() -> None:
    async with open_system(NoDatabase()) as system:
        await system.start(child("", tree, Tools(rate_limit_per_hour=0)))
        assert {await take(system) for _ in range(200)} == {None}


async def test_t6_the_151st_call_in_an_hour_is_one_too_many(mock_clock: MockClock) -> None:
    """T6, as it is by default. What its caller is told: `tests/operations/test_tools_asked.py`."""
    async with open_system(NoDatabase()) as system:
        await system.start(child("", tree, Tools()))
        assert {await take(system) for _ in range(150)} == {None}
        much = await take(system)
        assert much is not None
        assert (much.limit, round(much.wait)) == (150, 3600)
