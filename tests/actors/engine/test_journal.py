"""What a run may write while its node cannot prove that it lives: nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import trio
from trio.testing import MockClock

from goclaw.actors.engine.calls import CallLog
from goclaw.actors.engine.journal import KnownBlobs, RunJournal
from goclaw.agent.recorder import Recorder
from goclaw.domain.cluster import Ownership
from goclaw.runtime.actor import Context
from goclaw.runtime.clock import Clock
from goclaw.security.box import Box
from goclaw.stores.runs import Claimed
from goclaw.tools.ledger import Begun, Place

RUN = Claimed(
    run_id="r", tenant_id="t", session_key="agent:a:b", agent_id=None, agent_key="a", user_id="lan", kind="chat",
    lane="main", attempt=1, crash_count=0, fence=1, lease_owner="n", stored="{}",
    created_at=datetime(2026, 11, 21, tzinfo=UTC), age=0.0,
)  # fmt: skip


class Store:
    """All that a journal needs of its context."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.written: list[str] = []

    async def db(self, work: Any, *args: Any, **kwargs: Any) -> None:
        self.written.append(work.name)


async def test_no_effect_begins_in_quarantine_and_the_run_goes_on_after_it(autojump_clock: MockClock) -> None:
    store, own = Store(), Ownership(alone=False)
    journal = RunJournal(
        cast("Context", store),
        RUN,
        Recorder("full"),
        KnownBlobs(),
        lambda name: "unsafe",
        own,
        CallLog(Clock(), {}),
        Box(bytes(32)),
    )
    call = Begun(place=Place(0, 0), tool="send", effect="unsafe", request_hash="0" * 64, before="")
    own.held = False

    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.begin, call)
        await trio.sleep(50)
        assert store.written == []
        own.held = True
        await trio.sleep(1)
        assert store.written == ["run_steps.keep"]
