"""Runs that want the same thing. Contract: nodes-autonomy.md §3; sessions-lanes-cron.md SL-40."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import run, session
from goclaw.domain.session import Abort, FlushWindows, Send, Terms
from goclaw.operations.feed import RunFeed, listening
from goclaw.runtime.system import System
from goclaw.settings.providers import Offline, Providers
from goclaw.stores import run_views
from goclaw.stores.database import Database
from tests.actors.house import house, turn

SLOW = Providers(offline=Offline(first_token_ms=600_000))


def key_of(name: str) -> str:
    return f"agent:default:http:direct:{name}"


async def wanting(database: Database, text: str, *keys: str, **more: Any) -> Send:
    terms = Terms(priority=5, max_attempts=3, resource_keys=keys)
    return msgspec.structs.replace(await turn(database, text), terms=terms, **more)


async def ask(system: System, database: Database, name: str, *keys: str) -> str:
    send = await wanting(database, name, *keys, kind="task")
    await system.ask(session(MASTER_TENANT, key_of(name)), send, within=5)
    return send.run_id


async def start(system: System, database: Database, name: str, *keys: str) -> str:
    """The run, once it works."""
    send = await wanting(database, name, *keys, kind="task")
    with trio.fail_after(5), listening(system, send.run_id) as feed:
        await system.ask(session(MASTER_TENANT, key_of(name)), send, within=5)
        await begun(feed)
    return send.run_id


async def stop(system: System, name: str) -> None:
    await system.ask(session(MASTER_TENANT, key_of(name)), Abort(user_id="lan", as_admin=True, drain=True), within=5)


async def begun(feed: RunFeed) -> None:
    while "run.started" not in [event.type for event in await feed.next()]:
        pass


async def row(database: Database, run_id: str) -> run_views.RunRow:
    found = await database.run(run_views.find, tenant=MASTER_TENANT, run_id=run_id)
    assert found is not None
    return found


async def test_two_tasks_with_one_key_work_one_after_the_other_and_a_third_at_once(
    database: Database, tmp_path: Path
) -> None:
    async with house(database, tmp_path, providers=SLOW) as system:
        await start(system, database, "a", "repo:a")
        second = await ask(system, database, "b", "repo:a")
        await start(system, database, "c", "repo:b")
        waiting = await row(database, second)
        assert (waiting.state, waiting.wait_reason) == ("QUEUED", "resource_lock")

        with trio.fail_after(5), listening(system, second) as feed:  # its own next look is half a minute away
            await stop(system, "a")
            await begun(feed)

        assert (await row(database, second)).wait_reason is None
        for name in ("b", "c"):
            await stop(system, name)


async def test_a_run_whose_actor_dies_lets_go_of_its_keys(database: Database, tmp_path: Path) -> None:
    async with house(database, tmp_path, providers=SLOW) as system:
        first = await start(system, database, "a", "repo:a")
        second = await ask(system, database, "b", "repo:a")
        await start(system, database, "c", "repo:b")

        with trio.fail_after(5), listening(system, second) as feed:
            cell = system.cell(run("main", first))
            assert cell is not None
            cell.kill()
            await begun(feed)

        for name in ("a", "b", "c"):
            await stop(system, name)


@pytest.mark.parametrize("mode", ["queue", "followup", "inject", "interrupt"])
async def test_a_turn_with_keys_is_a_run_of_its_own_in_every_mode(
    database: Database, tmp_path: Path, mode: str
) -> None:
    async with house(database, tmp_path, providers=SLOW) as system:
        await start(system, database, "other", "repo:a")
        working = await start(system, database, "chat")
        send = await wanting(database, "more", "repo:a", mode=mode)
        accepted = await system.ask(session(MASTER_TENANT, key_of("chat")), send, within=5)

        assert accepted.run_id == send.run_id != working
        assert (await row(database, send.run_id)).resource_keys == ["repo:a"]
        for name in ("chat", "other"):
            await stop(system, name)


async def test_texts_that_were_said_together_keep_the_keys_of_the_first(database: Database, tmp_path: Path) -> None:
    async with house(database, tmp_path, providers=SLOW) as system:
        first = await wanting(database, "one", "repo:a", debounce_ms=10_000)
        second = msgspec.structs.replace(await turn(database, "two"), debounce_ms=10_000)
        chat = session(MASTER_TENANT, key_of("chat"))
        async with trio.open_nursery() as nursery:
            for send in (first, second):
                nursery.start_soon(partial(system.ask, chat, send, within=60))
                await wait_all_tasks_blocked()
            system.tell(chat, FlushWindows())

        assert (await row(database, second.run_id)).resource_keys == ["repo:a"]
        await stop(system, "chat")
