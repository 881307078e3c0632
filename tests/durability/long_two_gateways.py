"""Two gateways on one database, one of which dies, sleeps or is shot at. Contract: durability.md P8, E3, E4."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable

import psycopg
import trio

from tests.durability.checker import counts, gather, verify
from tests.durability.lives import Lives
from tests.durability.patience import until
from tests.durability.storm import SCRIPTS
from tests.durability.talker import Talker
from tests.fakes.scripted import ScriptedVendor

TAKEOVER = 18.0  # seconds; durability.md P8
ASLEEP = 60.0  # seconds
HELD = 20  # runs at work when a gateway is killed
SHOTS, EVERY, AWAY = 12, 10.0, 5.0  # kills, seconds between them, seconds until the gateway is started again


class Pair:
    """Two gateways, their clients, and what they left behind."""

    def __init__(self, lives: Callable[..., Lives], vendor: ScriptedVendor, dsn: str) -> None:
        self.dsn = dsn
        self.vendor = vendor
        few = {"pool_max": 10}
        self.a, self.b = (lives(dsn=dsn, database=few, cluster={"node_name": name}) for name in "ab")
        self.talkers: list[Talker] = []
        self.number = 0
        self.over = False
        self.random = random.Random(0)

    async def live(self) -> None:
        for gateway in (self.a, self.b):
            await trio.to_thread.run_sync(gateway.live)
        owners = """
        SELECT count(*) = 256 AND count(DISTINCT node_id) = 2 FROM shard_leases JOIN cluster_nodes n USING (node_id)
        WHERE n.stopped_at IS NULL
        """
        await until(lambda: self.rows(owners) == [(True,)], within=60)

    def rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.dsn) as db:
            return db.execute(query, values).fetchall()

    def talker(self, gateway: Lives) -> Talker:
        self.talkers.append(Talker(gateway, f"client{len(self.talkers)}"))
        return self.talkers[-1]

    async def talk(self, talker: Talker) -> None:
        while not self.over:
            self.number += 1
            await talker.say(f"n{self.number} {self.random.choice(SCRIPTS)}".strip())

    async def check(self, what: str, **more: object) -> None:
        await until(lambda: self.rows("SELECT count(*) FROM runs WHERE finished_at IS NULL") == [(0,)], within=90)
        said = [said for talker in self.talkers for said in talker.notes]
        evidence = gather(self.dsn, said, self.vendor, [*self.a.lines, *self.b.lines])
        verify(evidence)
        rows = {**counts(evidence)._asdict(), **more}
        print(f"\n{what}\n" + "\n".join(f"{name:<32}{value:>10}" for name, value in rows.items()))  # noqa: T201


async def test_the_work_of_a_killed_gateway_goes_on_in_time(
    lives: Callable[..., Lives], vendor: ScriptedVendor, dsn: str
) -> None:
    pair = Pair(lives, vendor, dsn)
    await pair.live()
    working = "SELECT count(*) FROM runs r JOIN cluster_nodes n ON n.node_id = r.lease_owner WHERE n.name = %s"

    async with trio.open_nursery() as nursery:
        for number in range(HELD):
            nursery.start_soon(pair.talker(pair.b).say, f"n{number} hold")
        await vendor.holds(HELD)
        ((of_a,),) = pair.rows(working, "a")
        assert isinstance(of_a, int)
        assert of_a > 0
        pair.a.kill()
        took = await until(lambda: pair.rows(working, "b") == [(HELD,)], within=TAKEOVER)
        vendor.release()

    await pair.check("a gateway killed", **{"runs it was at": of_a, "all of them elsewhere after, s": round(took, 1)})


async def test_a_gateway_that_slept_for_a_minute_writes_nothing_old(
    lives: Callable[..., Lives], vendor: ScriptedVendor, dsn: str
) -> None:
    pair = Pair(lives, vendor, dsn)
    await pair.live()

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(pair.talk, pair.talker(pair.b))
        await trio.sleep(5)
        os.kill(pair.a.pid, signal.SIGSTOP)
        await trio.sleep(ASLEEP)
        os.kill(pair.a.pid, signal.SIGCONT)
        await trio.sleep(15)
        pair.over = True

    assert pair.a.alive
    stale = sum(line["event"] in ("run.stale", "node.lost") for line in pair.a.log)
    await pair.check(f"a gateway asleep for {ASLEEP:g} s", **{"times it saw that it was late": stale})
    assert stale


async def test_gateways_killed_in_turn_under_load_lose_and_double_nothing(
    lives: Callable[..., Lives], vendor: ScriptedVendor, dsn: str
) -> None:
    pair = Pair(lives, vendor, dsn)
    await pair.live()

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(pair.talk, pair.talker(pair.a if number % 2 else pair.b))
        for shot in range(SHOTS):
            gateway = pair.a if shot % 2 else pair.b
            gateway.kill()
            await trio.sleep(AWAY)
            await trio.to_thread.run_sync(gateway.live)
            await trio.sleep(EVERY - AWAY)
        pair.over = True

    claims = """
    SELECT max(extract(epoch FROM c.at - q.at))::float8 FROM run_events c JOIN run_events q USING (run_id)
    WHERE c.state_to = 'CLAIMED' AND c.fence = 1 AND q.state_from IS NULL
    """
    ((waited,),) = pair.rows(claims)
    assert isinstance(waited, float)
    await pair.check(f"{SHOTS} kills in turn", **{"longest wait for a first claim, s": round(waited, 1)})
    assert waited <= 20
