"""What the audit says when two nodes answer at the same instant. Contract: security.md §11.2, tools.md §12.3."""

from __future__ import annotations

from typing import Any

import trio
from trio.testing import MockClock

from goclaw.domain.access import Role
from goclaw.domain.errors import Rejected
from goclaw.operations import approvals
from goclaw.operations.approvals import Approve, Deny
from goclaw.security.audit import Act
from goclaw.stores.database import Database
from tests.actors.engine.test_approvals import Broker, broker, standing


class Slow:
    """A disk that takes a line only when the other node wants to write one, too, or told to."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.both = trio.Event()
        self.acts: list[Act] = []

    async def write(self, act: Act) -> bool:
        self.acts.append(act)
        if act.decision == "allow":
            if [one.decision for one in self.acts].count("allow") == self.wanted:
                self.both.set()
            await self.both.wait()
        return True

    def note(self, act: Act) -> None:
        self.acts.append(act)

    def count(self, *args: Any, **more: Any) -> None:
        """Nothing is counted here."""

    def run_ended(self, run_id: str) -> None:
        """Nothing is counted here."""


async def admin(here: Broker, user: str, lost: list[str]) -> None:
    """Says yes."""
    try:
        await here.as_(user, approvals.approve, Approve, Role.ADMIN, id="exec-1")
    except Rejected as refusal:
        lost.append(f"{user}: {refusal.err.key}")


async def test_of_two_yeses_at_once_the_audit_names_the_one_that_came_too_late(
    database: Database, mock_clock: MockClock
) -> None:
    audit, lost = Slow(2), list[str]()
    async with (
        broker(database, node="a", company=True, audit=audit) as a,
        broker(database, node="b", company=True, audit=audit) as b,
    ):
        await a.begin(a.wish("curl x"))
        async with trio.open_nursery() as both:
            both.start_soon(admin, a, "an", lost)
            both.start_soon(admin, b, "bo", lost)

    (loser, why) = lost[0].split(": ")
    assert (len(lost), why) == (1, "approval_gone")
    winner = {"an": "bo", "bo": "an"}[loser]
    said = [(act.action, act.decision, act.actor_id, act.reason) for act in audit.acts]
    assert said[0] == ("exec.requested", "info", "default", "")
    assert sorted(said[1:3]) == [("exec.approved", "allow", who, "") for who in ("an", "bo")]
    assert said[3:] == [("exec.approved", "info", loser, "answered_before")]
    assert audit.acts[3].details.items() >= {"answer": "allow_once", "answered_by": winner}.items()
    assert await database.run(standing) == ["allow_once"]


async def test_a_yes_that_meets_a_no_is_said_to_have_lost(database: Database, mock_clock: MockClock) -> None:
    audit, lost = Slow(2), list[str]()
    async with (
        broker(database, node="a", company=True, audit=audit) as a,
        broker(database, node="b", company=True, audit=audit) as b,
        trio.open_nursery() as tasks,
    ):
        await a.begin(a.wish("curl x"))
        tasks.start_soon(admin, a, "an", lost)
        while len(audit.acts) < 2:
            await trio.lowlevel.checkpoint()
        await b.as_("ann", approvals.deny, Deny, id="exec-1")
        audit.both.set()

    assert lost == ["an: approval_gone"]
    assert [(act.action, act.decision, act.actor_id) for act in audit.acts] == [
        ("exec.requested", "info", "default"),
        ("exec.approved", "allow", "an"),
        ("exec.denied", "deny", "ann"),
        ("exec.approved", "info", "an"),
    ]
    assert audit.acts[3].details.items() >= {"answer": "deny", "answered_by": "ann"}.items()
    assert await database.run(standing) == ["deny"]
