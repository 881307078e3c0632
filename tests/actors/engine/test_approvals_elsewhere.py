"""Approvals outlive the process that asked, and are answered at any node.

Contract: durability.md K17, tools.md §12.3.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from goclaw.actors.engine.consent import AtBroker
from goclaw.domain.access import Role
from goclaw.domain.cluster import HEARD, MARKS, Marked, Woken
from goclaw.domain.errors import Rejected
from goclaw.domain.ids import new_id
from goclaw.operations import approvals
from goclaw.operations.approvals import Approve, Deny
from goclaw.operations.gateway import Nothing
from goclaw.runtime.address import Address
from goclaw.runtime.inbox import inbox
from goclaw.runtime.message import Message, Told
from goclaw.stores import approvals as rows
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, transaction
from tests.actors.engine.test_approvals import MISSES, Broker, broker, standing

CALL = "run:1:0"


@transaction
async def age(db: Connection, seconds: float) -> None:
    """So much time passes in the database."""
    await db.execute("UPDATE exec_approvals SET expires_at = expires_at - make_interval(secs => %(s)s)", {"s": seconds})


@asynccontextmanager
async def pair(database: Database, *, bell: bool = False) -> AsyncIterator[tuple[Broker, Broker]]:
    async with (
        broker(database, node="a", company=True) as a,
        broker(database, node="b", company=True) as b,
        trio.open_nursery() as wires,
    ):
        for one, other in ((a, b), (b, a)) if bell else ():
            wires.start_soon(wire, one, other)
        await trio.testing.wait_all_tasks_blocked(0.01)
        yield a, b
        wires.cancel_scope.cancel()


async def wire(one: Broker, other: Broker) -> None:
    """What one rings, the other hears."""

    def ring(message: Message[None]) -> Told:
        if isinstance(message, Marked):
            other.system.publish(HEARD, Woken(kind=message.kind, topics=(message.topic,)))
        return Told.ACCEPTED

    with inbox(one.system, Address("wire"), "Wire", ring) as ear:
        ear.join(MARKS)
        await trio.sleep_forever()


async def test_an_answer_at_another_node_is_heard_by_the_bell(database: Database, mock_clock: MockClock) -> None:
    async with pair(database, bell=True) as (a, b):
        await a.begin(a.wish("curl x", key=CALL))
        await b.heard("exec.approval.requested")
        assert await b.pending() == await a.pending()

        await b.as_("ann", approvals.approve, Approve, id="exec-1")

        assert await a.end() == "run"
        for each in (a, b):
            await each.heard("exec.approval.resolved")
            assert [type for type, _ in each.news] == ["exec.approval.requested", "exec.approval.resolved"]
            assert each.news[1][1] == {
                "id": "exec-1",
                "decision": "allow_once",
                "by": "ann",
                "userId": "ann",
                "agentId": "default",
            }


@pytest.mark.parametrize("decision", ["allow_once", "deny"])
async def test_an_answer_at_another_node_is_found_without_the_bell(
    database: Database, mock_clock: MockClock, decision: str
) -> None:
    """W4: within a second."""
    async with pair(database) as (a, b):
        await a.begin(a.wish("curl x", key=CALL))
        mock_clock.jump(1.1)
        await b.heard("exec.approval.requested")
        if decision == "deny":
            await b.as_("ann", approvals.deny, Deny, id="exec-1", reason="no")
        else:
            await b.as_("ann", approvals.approve, Approve, id="exec-1")
        with pytest.raises(Rejected, match="approval_gone"):
            await a.as_("ann", approvals.approve, Approve, id="exec-1")

        mock_clock.jump(1.1)
        await b.heard("exec.approval.resolved")

        said = {"allow_once": "run", "deny": "denied_approval: this was not approved: no"}
        assert await a.end() == said[decision]


async def test_numbers_and_codes_are_of_all_nodes_and_rules_of_the_one_that_asked(
    database: Database, mock_clock: MockClock
) -> None:
    async with pair(database) as (a, b):
        await a.begin(a.wish("ffmpeg a"))
        await b.begin(b.wish("ffmpeg b", "c2"))
        first, second = await a.pending()
        assert (first["id"], second["id"]) == ("exec-1", "exec-2")

        await b.as_("ann", approvals.approve, Approve, id="exec-1", always=True)
        mock_clock.jump(1.1)

        assert await a.end() == "run"
        assert await a.try_(a.wish("ffmpeg c")) == "run"
        await b.begin(b.wish("ffmpeg c", "c3"))
        assert "c3" not in b.ends, "it ends with the process of a"
        (rule,) = (await b.as_("root", approvals.list_rules, Nothing, Role.ADMIN))["rules"]
        assert (rule["pattern"], rule["kept"]) == ("ffmpeg", False)


async def test_after_a_restart_the_same_question_waits_for_the_rest_of_its_time(
    database: Database, mock_clock: MockClock
) -> None:
    """K17."""
    async with broker(database) as first:
        first.port = AtBroker(first.system, MISSES, leaving=lambda: True)
        await first.begin(first.wish("curl x", key=CALL))
        (before,) = await first.pending()
    async with broker(database) as later:
        wish = later.wish("curl x", key=CALL)
        await database.run(age, 60)
        assert [one["id"] for one in await later.pending()] == [before["id"]]
        await later.begin(wish)
        mock_clock.jump(61)
        assert (await later.end()).startswith("approval_timeout: ")
        assert await database.run(standing) == ["timeout"]


async def test_what_was_answered_while_nobody_waited_counts_once_for_exactly_that_call(
    database: Database, mock_clock: MockClock
) -> None:
    """K17."""
    async with broker(database) as here:
        wish = here.wish("curl x", key=CALL)
        await asked(database, wish)
        await here.as_("ann", approvals.approve, Approve, id="exec-1")

        assert await here.try_(wish) == "run"
        for call, command, key in (("c2", "curl y", CALL), ("c3", "curl x", "run:1:1")):
            await here.begin(here.wish(command, call, key=key))
            assert call not in here.ends


async def test_one_that_expired_while_nobody_waited_is_refused(database: Database, mock_clock: MockClock) -> None:
    """K17."""
    async with broker(database) as here:
        wish = here.wish("curl x", key=CALL)
        await asked(database, wish)
        await database.run(age, 121)
        assert await here.pending() == []
        with pytest.raises(Rejected, match="approval_gone"):
            await here.as_("ann", approvals.approve, Approve, id="exec-1")

        assert (await here.try_(wish)).startswith("approval_timeout: ")
        assert await database.run(standing) == ["timeout"]


async def test_a_question_nobody_comes_back_to_is_swept_and_one_without_a_run_ends_with_its_process(
    database: Database, mock_clock: MockClock
) -> None:
    async with broker(database) as here:
        await asked(database, here.wish("curl x", key=CALL))
        await asked(database, here.wish("curl y"))
        await database.run(age, 126)
    async with broker(database) as later:
        assert await later.pending() == []
        assert await database.run(standing) == ["timeout", "orphaned"]


async def asked(database: Database, wish: object) -> None:
    """As a process that died since did."""
    facts = {"command": "curl", "detail": {"sha256": "x"}, "rule": "", "within": 120.0, "of_agent": 20, "of_all": 200}
    codes = ["".join(new_id()[-6:]).upper()]
    await database.run(rows.request, wish, id=new_id(), node_id=new_id(), node="here", codes=codes, **facts)  # type: ignore[arg-type]
