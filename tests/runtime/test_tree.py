"""The tree as operators see it."""

from __future__ import annotations

from typing import Any

import trio
from trio.testing import MockClock

from goclaw.runtime.address import Address
from goclaw.runtime.child import Child, Restart, Strategy
from goclaw.runtime.inbox import inbox
from goclaw.runtime.message import Told
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.tree import SHOWN, describe, totals
from goclaw.runtime.virtual import Virtual
from tests.runtime.house import Boom, Say, Scribe, Wait, cell, house, quiet

A = Address("a")


class Silent(Scribe):
    def snapshot(self) -> dict[str, Any]:
        raise RuntimeError("no facts today")


def branches() -> list[Child]:
    return [
        Child("a", Scribe),
        Child("quiet", Silent),
        Child("pool", lambda: Supervisor(strategy=Strategy.DYNAMIC)),
        Child("s", lambda: Virtual(lambda address: Scribe(), idle=60, most=1_000)),
    ]


async def test_a_node_tells_what_an_operator_asks(autojump_clock: MockClock) -> None:
    async with house(*branches()) as system:
        system.tell(A, Boom())
        await trio.sleep(5)
        system.tell(A, Wait(seconds=60))
        await quiet()
        system.tell(A, Say(text="waits"))
        await trio.sleep(2)

        node = await describe(system, A, 0)
        assert node is not None
        assert (node["path"], node["name"], node["kind"], node["class"]) == (A, "a", "io", "Scribe")
        assert (node["state"], node["incarnation"], node["restarts_total"]) == ("running", 2, 1)
        assert node["last_crash"]["type"] == "RuntimeError"
        assert node["mailbox"] | {"high_water": 0} == {
            "depth": 1,
            "control": 0,
            "capacity": 1024,
            "high_water": 0,
            "dropped": 0,
            "expired": 0,
        }
        assert node["in_hand"] == {"type": Wait.TYPE, "age_ms": 2000, "trace_id": None}
        assert node["counters"] == {"received": 3, "handled": 0, "failed": 1, "replies": 0, "asks_out": 0}
        assert node["snapshot"] == {"written": 2}
        assert node["uptime_ms"] < 7000
        assert "children" not in node


async def test_the_whole_tree_is_cut_by_depth_and_shows_supervisors_and_guests() -> None:
    async with house(*branches()) as system:
        await system.ask(Address("s", "acme", "k"), Say(text="x"), within=5)
        await quiet()
        with inbox(system, Address("pool", "guest"), "Connection", lambda message: Told.ACCEPTED):
            tree = await describe(system, Address(), 2)

        assert tree is not None
        assert (tree["kind"], tree["strategy"], tree["shutdown"]) == ("supervisor", "one_for_one", "infinity")
        by_name = {node["name"]: node for node in tree["children"]}
        assert list(by_name) == ["a", "quiet", "pool", "s"]
        assert by_name["pool"]["children"][0]["class"] == "Connection"
        sleeper = by_name["s"]["children"][0]
        assert (sleeper["path"], sleeper["dormant"], sleeper["state"]) == ("/s/acme/k", True, "running")
        assert "children" not in sleeper
        assert "snapshot" not in by_name["quiet"]
        assert await describe(system, Address("nobody"), 1) is None


async def test_a_crowd_is_counted_but_not_all_shown() -> None:
    async with house(*branches()) as system:
        for number in range(SHOWN + 50):
            system.tell(Address("s", "acme", str(number)), Say(text="x"))
        await quiet()

        node = await describe(system, Address("s"), 1)
        assert node is not None
        assert node["children_total"] == SHOWN + 50
        assert len(node["children"]) == SHOWN
        assert node["more"]


async def test_totals_count_everybody_once(autojump_clock: MockClock) -> None:
    async with house(*branches()) as system:
        system.tell(Address("s", "acme", "k"), Say(text="x"))
        system.tell(A, Boom())
        await trio.sleep(1)

        assert await totals(system) == {
            "actors": 6,
            "by_kind": {"supervisor": 3, "io": 3},
            "by_class": {"Supervisor": 2, "Scribe": 2, "Silent": 1, "Virtual": 1},
            "by_state": {"running": 6},
            "restarts_1h": 1,
            "mailbox_depth": 0,
            "dropped": 0,
            "handled": 1,
            "failed": 1,
            "dead_letters": 1,
            "zombie_threads": 0,
            "loop_lag_ms": 0.0,
        }


async def test_a_tree_that_changes_while_it_is_described_shows_nobody_twice() -> None:
    async with house(*branches()) as system:
        pool = cell(system, "pool")

        async def churn() -> None:
            for number in range(600):
                child = pool.family.start_soon(Child(str(number), Scribe, restart=Restart.TEMPORARY))
                if number % 2:
                    child.kill()
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(churn)
            for _ in range(20):
                tree = await describe(system, Address(), 5)
                assert tree is not None
                paths = [child["path"] for branch in tree["children"] for child in branch.get("children", ())]
                assert len(paths) == len(set(paths))
                assert (await totals(system))["actors"] >= 5
