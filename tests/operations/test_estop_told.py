"""Who hears of an emergency stop: calls that run, admins, and the audit. Contract: security.md §13, tools.md §2."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio
import trio.lowlevel

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.estop import TOOL_CALLS, ToolsStopped
from goclaw.domain.events import EstopEvent, of_admins
from goclaw.runtime.address import Address
from goclaw.runtime.inbox import inbox
from goclaw.runtime.message import Message, Told
from goclaw.stores.audit_file import lines_of
from tests.operations.test_audit_content import Stage, stage

__all__ = ["stage"]

TOOLS = {"tools": ["exec"]}


@pytest.mark.parametrize("levels", [TOOLS, {"network": True}, {"domains": ["example.com"]}])
async def test_a_stop_reaches_calls_and_admins_and_is_written_down(stage: Stage, levels: dict[str, Any]) -> None:
    heard: list[str] = []

    def hear(message: Message[Any]) -> Told:
        match message:
            case ToolsStopped():
                heard.append("calls")
            case EstopEvent():
                said = msgspec.json.decode(message.body)
                heard.append(f"{message.type} by {said['by']}: {said['reason']}")
        return Told.ACCEPTED

    with inbox(stage.ctx.system, Address("listener"), "Listener", hear) as box:
        box.join(of_admins(MASTER_TENANT))
        box.join(TOOL_CALLS)
        await stage.call("estop.set", engage=True, levels=levels, reason="a test")
        await stage.call("estop.set", engage=False, levels=levels)
        with trio.fail_after(5):
            while len(heard) < 3:
                await trio.lowlevel.checkpoint()

    assert sorted(heard) == ["calls", "estop.engaged by an: a test", "estop.released by an: "]
    acts = [line["action"] for line in lines_of(stage.book.path) if line["action"].startswith("estop.")]
    assert acts == ["estop.engaged", "estop.released"]
