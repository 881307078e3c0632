"""Who may break things, and where: consent before anything else. Contract: supervision.md §21 C1, C3."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from goclaw.domain.access import Caller, Role
from goclaw.domain.errors import Rejected, StoreError
from goclaw.operations.chaos import GetChaos, StartChaos, StopChaos, get_plan, list_plans, start, stop
from goclaw.operations.context import Context, House
from goclaw.operations.gateway import Nothing
from goclaw.operations.operation import collect
from goclaw.operations.params import decode
from goclaw.runtime.faults import NoSuchActor
from goclaw.runtime.system import open_system
from goclaw.settings.chaos import Chaos
from goclaw.settings.settings import Settings

ITEM = {"path": "/a", "what": "crash", "when": {"nth": 1}}
ID = "01a1fe3a-85bd-7000-bbd6-3621a9aa4e7c"
ADMIN = Caller(user_id="lan", role=Role.ADMIN)


class Answers:
    """A database that does, or does not."""

    def __init__(self, well: bool = True) -> None:
        self.well = well

    async def run(self, work: object, /, *args: object, **kwargs: object) -> object:
        await trio.lowlevel.checkpoint()
        if not self.well:
            raise StoreError("unavailable", "away")
        return None


async def outcome(
    consent: Chaos = Chaos(enabled=True),  # noqa: B008 - frozen
    *,
    caller: Caller = ADMIN,
    production: bool = False,
    draining: bool = False,
    well: bool = True,
    **given: Any,
) -> str:
    """The reason of the refusal, or "accepted" when the desk, which is not there, was asked."""
    async with open_system(Answers(well)) as system:
        house = House(Settings(chaos=consent), system, "0", "node", 0, production, draining)
        ask = decode(StartChaos, {"items": [ITEM], "confirm": house.node_name, **given})
        try:
            await start(Context(house, caller), ask)
        except Rejected as refused:
            return str(refused.err.details.get("field") or refused.err.details["reason"])
        except NoSuchActor:
            return "accepted"
    raise AssertionError("nobody was asked")


@pytest.mark.parametrize("production", [False, True])
@pytest.mark.parametrize("enabled", [False, True])
@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize("force", [False, True])
async def test_production_needs_both_consents_and_nothing_does_without_the_files(
    production: bool, enabled: bool, allowed: bool, force: bool
) -> None:
    consent = Chaos(enabled=enabled, allow_production=allowed)
    may = enabled and (not production or (allowed and force))

    assert await outcome(consent, production=production, force=force) == ("accepted" if may else "chaos_disabled")


async def test_the_node_is_named_by_who_breaks_it() -> None:
    assert await outcome(confirm="somewhere else") == "confirm"


async def test_a_house_that_drains_or_is_not_well_is_left_alone() -> None:
    assert await outcome(draining=True) == "shutting_down"
    assert await outcome(well=False) == "unhealthy"


async def test_other_tenants_neither_start_nor_see_plans() -> None:
    stranger = Caller(tenant_id="0193a5b0-7000-7000-8000-000000000002", user_id="x", role=Role.ADMIN, is_owner=True)

    assert await outcome(caller=stranger) == "tenant"
    async with open_system(Answers()) as system:
        ctx = Context(House(Settings(), system, "0", "node", 0), stranger)
        for asking in (list_plans(ctx, Nothing()), get_plan(ctx, GetChaos(id=ID)), stop(ctx, StopChaos(id=ID))):
            with pytest.raises(Rejected) as refused:
                await asking
            assert refused.value.err.code == "FORBIDDEN"


def test_operators_read_and_admins_break() -> None:
    """C-4: what an operator's key opens."""
    roles = {
        rpc.name: rpc.role for op in collect("goclaw.operations") for rpc in op.rpc if rpc.name.startswith("chaos")
    }
    same = {http.route: http.role for op in collect("goclaw.operations") for http in op.http if "chaos" in http.route}

    assert roles == {
        "chaos.start": Role.ADMIN,
        "chaos.stop": Role.ADMIN,
        "chaos.list": Role.OPERATOR,
        "chaos.get": Role.OPERATOR,
    }
    assert same == {
        "POST /v1/chaos/plans": Role.ADMIN,
        "DELETE /v1/chaos/plans/{id}": Role.ADMIN,
        "GET /v1/chaos/plans": Role.OPERATOR,
        "GET /v1/chaos/plans/{id}": Role.OPERATOR,
    }
