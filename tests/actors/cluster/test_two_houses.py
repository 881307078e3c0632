"""Two nodes on one real database with their bells torn out: polling alone finds the work and its end (E18)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from goclaw.actors.cluster.elsewhere import Elsewhere, Look
from goclaw.actors.sessions.session import Session
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import session
from goclaw.domain.cluster import HEARD, MARKS, Marked, Ownership, Woken, run_topic, shard_of
from goclaw.domain.ids import new_id
from goclaw.domain.run import RunRequest
from goclaw.domain.session import Abort, Activity, GetActivity
from goclaw.operations.feed import listening
from goclaw.runtime.address import Address
from goclaw.runtime.child import child
from goclaw.runtime.inbox import inbox
from goclaw.runtime.message import Message, Told
from goclaw.runtime.system import System
from goclaw.settings.providers import Offline, Providers
from goclaw.stores import session_queue, shards
from goclaw.stores.database import Database
from goclaw.stores.session_queue import Aside, Place
from goclaw.stores.unit import Connection, transaction
from tests.actors.house import KEY, Weather, house, turn
from tests.stores.test_cluster import join
from tests.stores.test_runs import accept

WITHIN = 20.0
SLOW = Providers(offline=Offline(first_token_ms=600_000))


class Watched(Weather):
    """A database that knows the ends of which runs were looked for."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, "", Database.run)
        self.looks: list[list[str]] = []

    async def run(self, work: Any, /, *args: Any, **kwargs: Any) -> Any:
        if work.name == "elsewhere.endings":
            self.looks.append(kwargs["runs"])
        return await super().run(work, *args, **kwargs)


@asynccontextmanager
async def node(
    database: Database | Watched,
    place: Path,
    name: str,
    *,
    owns: bool,
    providers: Providers = Providers(),  # noqa: B008
) -> AsyncIterator[System]:
    """A house that owns every shard or none and hears nothing from the other."""
    node_id = await join(database, name)
    own = Ownership(alone=False)
    own.peers = 1
    if owns:
        taken = await database.run(shards.take, node=node_id, shards=range(256), ttl=15.0)
        own.shards = {shard.shard: shard.fence for shard in taken}
    more = [child("elsewhere", Elsewhere, node_id)]
    async with house(database, place, providers=providers, ownership=own, node=node_id, more=more) as system:
        yield system


async def test_a_turn_for_another_nodes_session_is_answered_here(database: Database, tmp_path: Path) -> None:
    async with node(database, tmp_path / "a", "a", owns=False) as a, node(database, tmp_path / "b", "b", owns=True):
        asks = [await turn(database, text) for text in ("one", "two")]
        with trio.fail_after(WITHIN), listening(a, asks[0].run_id) as first, listening(a, asks[1].run_id) as second:
            for ask in asks:
                await a.ask(session(MASTER_TENANT, KEY), ask, within=5)
            events = await first.next()
            results = [await first.result(), await second.result()]

    assert events[0].type == "run.queued"
    assert [result.run_id for result in results] == [ask.run_id for ask in asks]
    assert all(result.error is None and result.content for result in results)


async def test_the_lane_of_a_node_that_owns_nothing_rings_for_the_owner(database: Database, tmp_path: Path) -> None:
    heard: list[Message[None]] = []

    def keep(message: Message[None]) -> Told:
        heard.append(message)
        return Told.ACCEPTED

    async with node(database, tmp_path, "a", owns=False) as a:
        with inbox(a, Address("ear"), "Ear", keep) as ear, trio.fail_after(WITHIN):
            ear.join(MARKS)
            ask = await turn(database)
            accepted = await a.ask(session(MASTER_TENANT, KEY), ask, within=5)
            assert accepted.position == 0
            while not heard:
                await trio.lowlevel.checkpoint()
            activity = await a.ask(session(MASTER_TENANT, KEY), GetActivity(), within=5)

    assert heard == [Marked(kind="runs", shard=shard_of(MASTER_TENANT, KEY))]
    assert activity.waiting == (ask.run_id,)
    assert activity.running == ()


async def test_a_run_on_another_node_is_stopped_by_its_flag(database: Database, tmp_path: Path) -> None:
    async with (
        node(database, tmp_path / "a", "a", owns=False) as a,
        node(database, tmp_path / "b", "b", owns=True, providers=SLOW) as b,
    ):
        ask = await turn(database)
        with trio.fail_after(WITHIN), listening(a, ask.run_id) as here, listening(b, ask.run_id) as there:
            await a.ask(session(MASTER_TENANT, KEY), ask, within=5)
            while "run.started" not in [event.type for event in await there.next()]:
                pass
            activity = await a.ask(session(MASTER_TENANT, KEY), GetActivity(), within=5)
            stop = Abort(user_id="lan", as_admin=False)
            stopped = await a.ask(session(MASTER_TENANT, KEY), stop, within=5)
            b.publish(HEARD, Woken(kind="cancel", topics=(run_topic(ask.run_id),)))
            results = [await there.result(), await here.result()]

    assert activity.running == stopped.run_ids == (ask.run_id,)
    assert [result.cancelled for result in results] == [True, True]


@transaction
async def long_over(db: Connection) -> None:
    await db.execute("UPDATE runs SET finished_at = now() - interval '1 minute'")


async def test_an_end_is_told_once_and_that_of_a_merged_turn_never(database: Database, tmp_path: Path) -> None:
    run_id = await accept(database, "one")
    place = Place(tenant=MASTER_TENANT, key=KEY, lane="main", agent_id=new_id(), agent_key="default")
    request = RunRequest(message="two")
    aside = Aside(run_id=new_id(), user="lan", kind="chat", request=request, request_hash="0" * 64)
    assert await database.run(session_queue.join_waiting, place=place, aside=aside, into=run_id)
    await database.run(session_queue.stop, tenant=MASTER_TENANT, key=KEY, by="lan", reason="user", drain=True)
    await database.run(long_over)
    watched = Watched(database)

    async with node(watched, tmp_path, "a", owns=False) as a:
        with trio.fail_after(WITHIN), listening(a, run_id) as feed, listening(a, aside.run_id):
            for _ in range(3):
                a.tell(Address("elsewhere"), Look())
            assert (await feed.result()).cancelled
            while len(watched.looks) < 3:
                await trio.lowlevel.checkpoint()

    assert watched.looks[0] == sorted([run_id, aside.run_id])
    assert watched.looks[1:3] == [[aside.run_id]] * 2


async def test_what_a_session_knew_before_others_came_is_read_again_when_they_left(
    database: Database, tmp_path: Path
) -> None:
    async with node(database, tmp_path, "a", owns=True, providers=SLOW) as a:
        asking = GetActivity()
        await a.ask(session(MASTER_TENANT, KEY), asking, within=5)
        cell = a.cell(session(MASTER_TENANT, KEY))
        assert cell is not None
        assert isinstance(cell.actor, Session)
        own = cell.actor.own
        own.peers = 0
        assert await a.ask(session(MASTER_TENANT, KEY), asking, within=5) == Activity(running=(), waiting=())
        own.peers, own.met = 1, own.met + 1  # as a look at the others does
        run_id = await accept(database, "taken in by another node")
        own.peers = 0

        activity = await a.ask(session(MASTER_TENANT, KEY), asking, within=5)

    assert (*activity.running, *activity.waiting) == (run_id,)
