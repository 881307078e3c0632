"""Who hears of an emergency stop, and who may end it. Contract: security.md §13, tools.md §2."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio
import trio.lowlevel

from goclaw.domain.access import MASTER_TENANT, Caller, Role
from goclaw.domain.estop import TOOL_CALLS, ToolsStopped
from goclaw.domain.events import EstopEvent, of_admins
from goclaw.edge.gatekeeper import Gatekeeper
from goclaw.edge.ws.server import methods_of
from goclaw.runtime.address import Address
from goclaw.runtime.inbox import inbox
from goclaw.runtime.message import Message, Told
from goclaw.settings.gateway import Gateway
from goclaw.stores.audit_file import lines_of
from tests.edge.links import CONNECT, QuietLink, connected
from tests.operations.test_audit_content import METHODS, Stage, stage

__all__ = ["stage"]

SET_ESTOP = METHODS["estop.set"]
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


class Doorman(Gatekeeper):
    """Knows everybody as somebody of this role."""

    def __init__(self, role: Role) -> None:
        super().__init__(Gateway(), {"127.0.0.1"})
        self.role = role

    def caller(self, *_: Any) -> Caller:
        return Caller(user_id="op", role=self.role)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
async def test_only_an_admin_releases(autojump_clock: Any, role: Role) -> None:
    release = {"engage": False, "levels": {"all": True}}
    asked = {"type": "req", "id": "1", "method": "estop.set", "params": release}
    link = QuietLink(CONNECT, msgspec.json.encode(asked).decode(), answers_pings=True)

    async with connected(link, methods_of([SET_ESTOP]), Doorman(role)):
        await trio.sleep(1)

    (answer,) = [frame for frame in link.sent if frame.get("id") == "1"]
    assert (answer["ok"], answer["error"]["code"]) == (False, "FORBIDDEN")
    assert answer["error"]["details"]["required"] == "admin"
