"""A vendor that is away is an error, and no answer of somebody who only looks like one. Contract: providers.md §9.2."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.events import of_admins
from goclaw.domain.model import Candidate
from goclaw.providers.choose import fallbacks
from goclaw.runtime.address import Address
from goclaw.runtime.inbox import inbox
from goclaw.settings.agents import AgentDefaults
from goclaw.settings.failover import Failover
from goclaw.settings.providers import Provider, Providers
from goclaw.settings.section import Secret
from goclaw.stores.database import Database
from tests.actors.house import KEY, house
from tests.actors.talk import Talk


@pytest.fixture
def nowhere() -> Providers:
    """A vendor at an address where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    return Providers(named={"openai": Provider(api_key=Secret("sk-1"), api_base=url, models=("gpt-4o",))})


async def test_the_offline_model_does_not_answer_for_a_vendor_that_is_away(
    database: Database, tmp_path: Path, nowhere: Providers
) -> None:
    """PR-40."""
    async with house(database, tmp_path, providers=nowhere) as system:
        talk = Talk(database, system, None, KEY)
        with inbox(system, Address("edge", "http", "ear"), "Ear", talk.hear) as ear:
            ear.join(of_admins(MASTER_TENANT))
            run = await talk.say("calculate 6 * 7")
            (result,) = await talk.ended(run.run_id)
            (row,) = await talk.rows()

    assert result.error is not None
    assert (result.content, result.offline, row.state) == ("", False, "DEAD_LETTER")


@pytest.mark.parametrize("allowed", [False, True])
def test_only_who_allows_it_falls_back_to_the_offline_model(nowhere: Providers, allowed: bool) -> None:
    found = fallbacks(Candidate("openai", "gpt-4o"), (), nowhere, Failover(allow_offline=allowed), AgentDefaults())

    assert any(one.provider == "offline" for one in found) == allowed
