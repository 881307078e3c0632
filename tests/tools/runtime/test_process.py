"""Programs in the background, for real. Contract: tools.md §10, §13."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from goclaw.actors.engine.process import Ring, whole
from goclaw.actors.engine.processes import OF_OWNER, Background, ProcessSupervisor
from goclaw.domain.access import MASTER_TENANT, Caller, Role
from goclaw.domain.chat import ToolCall
from goclaw.domain.events import of_user
from goclaw.domain.ids import new_id
from goclaw.domain.process import ProcessEvent
from goclaw.operations.context import Context, House
from goclaw.operations.estop import SetEstop, set_estop
from goclaw.runtime.address import Address
from goclaw.runtime.child import child
from goclaw.runtime.inbox import inbox
from goclaw.runtime.message import Message, Told
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import System, open_system
from goclaw.security.estop import Brake, Levels
from goclaw.security.paths import Workspace
from goclaw.settings.settings import Settings
from goclaw.stores.database import Database
from goclaw.tools.approvals import Approvals
from goclaw.tools.ledger import ToolResult
from goclaw.tools.methods import Asker
from goclaw.tools.pipeline import Toolbox
from goclaw.tools.processes import Processes
from goclaw.tools.runtime.rules import Rules
from goclaw.tools.tool import ToolContext, collect, equipped
from tests.tools.runtime.test_exec import Door, alive

TOOLS = collect("goclaw.tools.runtime")
AGENT = new_id()


class Yard:
    """The tools of one session of one user."""

    def __init__(self, root: Path, system: System, user: str = "ann", session: str = "s", agent: str = AGENT) -> None:
        self.system = system
        self.root = root
        tools = equipped(TOOLS, {Rules: Rules(variables=os.environ), Approvals: Door(), Processes: Background(system)})
        asker = Asker(tenant_id=MASTER_TENANT, user_id=user, agent_id=agent, agent_key="default", session_key=session)
        self.box = Toolbox(tools, ToolContext(Workspace(root), lambda: datetime.now(UTC), "", asker, run_id=new_id()))

    async def result(self, tool: str, **arguments: Any) -> ToolResult:
        return await self.box.act(ToolCall(id="c", name=tool, arguments=arguments))

    async def process(self, action: str, id: str | None = None, **arguments: Any) -> Any:
        if id is not None:
            arguments["session_id"] = id
        result = await self.result("process", action=action, **arguments)
        assert not result.is_error, result.text
        return msgspec.json.decode(result.text)

    async def refusal(self, action: str, id: str, **arguments: Any) -> str:
        return (await self.result("process", action=action, session_id=id, **arguments)).error_code

    async def start(self, command: str) -> str:
        result = await self.result("exec", command=command, background=True)
        assert not result.is_error, result.text
        said = msgspec.json.decode(result.text)
        assert said["running"] is True
        id: str = said["session_id"]
        return id


def tree(data_dir: Path) -> Supervisor:
    engine = child("engine", lambda: Supervisor([child("processes", ProcessSupervisor, data_dir, "here")]))
    return Supervisor([engine])


@pytest.fixture
async def yard(database: Database, tmp_path: Path) -> AsyncIterator[Yard]:
    root = (tmp_path / "ws").resolve()
    root.mkdir()
    async with open_system(database) as system:
        await system.start(child("", tree, tmp_path / "data"))
        yield Yard(root, system)


async def test_it_runs_on_is_read_and_waited_for(yard: Yard) -> None:
    id = await yard.start("echo one; read x; echo got $x; exit 4")

    seen = await yard.process("watch_patterns", id, patterns=["NOTHING", "ONE"])
    assert (seen["matched"], seen["pattern"], seen["running"], seen["next_offset"]) == (True, "ONE", True, 4)
    assert await yard.process("write", id, data="two\n") == {"written": 4}
    poll = await yard.process("poll", id, timeout_ms=5000, offset=seen["next_offset"])

    assert (poll["log"], poll["running"], poll["exit_code"], poll["next_offset"]) == ("got two\n", False, 4, 12)
    assert poll["started_at"] <= poll["ended_at"]
    assert (await yard.process("log", id, offset=4, limit=3))["text"] == "got"
    assert (await yard.process("log", id, offset=400))["text"] == ""
    (row,) = await yard.process("list")
    assert (row["id"], row["running"], row["exit_code"], row["bytes"]) == (id, False, 4, 12)
    assert await yard.refusal("write", id, data="x") == "conflict"
    assert await yard.process("kill", id) == {"killed": False, "exit_code": 4}


async def test_a_kill_reaches_all_of_it_at_once_or_after_its_grace(yard: Yard) -> None:
    deaf = await yard.start("trap '' TERM; setsid sleep 100 & echo $!; while :; do sleep 100; done")
    await yard.process("watch_patterns", deaf, patterns=["\n"])
    stray = (await yard.process("log", deaf))["text"].strip()

    assert await yard.process("kill", deaf, signal="KILL") == {"killed": True, "exit_code": 137}
    assert not alive(stray)

    polite = await yard.start("trap 'exit 9' INT; echo up; while :; do sleep 0.02; done")
    await yard.process("watch_patterns", polite, patterns=["up"])
    assert await yard.process("kill", polite, signal="INT") == {"killed": True, "exit_code": 9}


async def test_whoever_else_asks_hears_of_nothing(yard: Yard) -> None:
    id = await yard.start("sleep 100")
    for other in (
        Yard(yard.root, yard.system, user="bob"),
        Yard(yard.root, yard.system, session="t"),
        Yard(yard.root, yard.system, agent=new_id()),
    ):
        assert await other.process("list") == []
        for action in ("poll", "log", "kill"):
            assert await other.refusal(action, id) == "not_found"
    unknown = (await yard.result("process", action="poll", session_id="p-999999")).text
    assert (await other.result("process", action="poll", session_id=id)).text == unknown
    assert (await yard.process("list"))[0]["running"]


async def test_eight_for_a_user_and_no_more_in_whatever_session(yard: Yard) -> None:
    for number in range(OF_OWNER):
        await Yard(yard.root, yard.system, session=f"s{number}").start("sleep 100")
    result = await yard.result("exec", command="sleep 100", background=True)
    assert (result.error_code, "8 background processes" in result.text) == ("rate_limited", True)
    await Yard(yard.root, yard.system, user="bob").start("sleep 100")
    assert len(os.listdir("/proc/self/fd")) < 100


async def test_a_watch_ends_with_the_process_or_with_time(yard: Yard) -> None:
    id = await yard.start("echo a; sleep 0.2; echo b")
    late = await yard.process("watch_patterns", id, patterns=["z"], timeout_ms=60, interval_ms=50)
    assert (late["matched"], late["timed_out"], late["running"]) == (False, True, True)
    gone = await yard.process("watch_patterns", id, patterns=["z"], timeout_ms=5000, interval_ms=50)
    assert (gone["matched"], gone["event"], gone["running"], gone["exit_code"]) == (False, "exit", False, 0)
    quiet = await yard.process("watch_patterns", id, patterns=["A"], case_sensitive=True, alert_on_exit=False)
    assert ("event" in quiet, quiet["matched"]) == (False, False)


async def test_the_whole_of_it_is_in_a_file_until_it_is_forgotten(yard: Yard, tmp_path: Path) -> None:
    id = await yard.start("seq 1 300000")
    poll = await yard.process("poll", id, timeout_ms=10_000)
    assert poll["running"] is False
    log = await yard.process("log", id, limit=10)
    assert log["dropped"] == poll["next_offset"] - len(poll["log"]) == 1_988_895 - 2**20
    assert (tmp_path / "data" / "proc" / f"{id}.log").stat().st_size == 1_988_895
    assert (tmp_path / "data" / "proc" / f"{id}.log").stat().st_mode & 0o077 == 0


async def test_what_a_former_life_left_is_lost(database: Database, tmp_path: Path) -> None:
    async with open_system(database) as system:
        await system.start(child("", tree, tmp_path / "data"))
        id = await Yard(tmp_path, system).start("sleep 100")
        await Yard(tmp_path, system).start("true")

    async with open_system(database) as system:
        await system.start(child("", tree, tmp_path / "data"))
        yard = Yard(tmp_path, system)
        lost = [row for row in await yard.process("list") if row.get("lost")]
        assert [(row["id"], row["running"]) for row in lost][-1] == (id, False)
        assert await Yard(tmp_path, system, user="bob").process("list") == []
        assert await yard.start("true") not in {row["id"] for row in lost}


async def test_its_user_hears_of_its_start_and_end(yard: Yard) -> None:
    heard: list[tuple[str, dict[str, Any]]] = []

    def hear(event: Message[Any]) -> Told:
        assert isinstance(event, ProcessEvent)
        heard.append((event.type, msgspec.json.decode(event.body)))
        return Told.ACCEPTED

    with inbox(yard.system, Address("ears"), "Ears", hear) as ears:
        ears.join(of_user(MASTER_TENANT, "ann"))
        id = await yard.start("sleep 100")
        await yard.process("kill", id)
    assert [type for type, _ in heard] == ["process.start", "process.kill", "process.exit"]
    assert (heard[-1][1]["id"], heard[-1][1]["running"], heard[-1][1]["exitCode"]) == (id, False, 143)


async def test_what_is_written_to_a_shell_is_a_command(yard: Yard) -> None:
    shell, cat = await yard.start("sh"), await yard.start("cat")
    assert await yard.refusal("write", shell, data="rm -rf x\n") == "denied_command"
    assert await yard.process("write", cat, data="rm -rf x\n") == {"written": 9}
    assert (await yard.process("watch_patterns", cat, patterns=["rm -rf"]))["matched"]


async def test_who_does_not_listen_is_not_waited_for(yard: Yard) -> None:
    id = await yard.start("sleep 100")
    codes = {await yard.refusal("write", id, data="x" * 65_536) for _ in range(40)}
    assert codes == {"", "conflict"}
    assert (await yard.process("kill", id, signal="KILL"))["killed"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"action": "poll"},
        {"action": "write", "session_id": "p-1"},
        {"action": "watch_patterns", "session_id": "p-1"},
        {"action": "poll", "session_id": "1"},
        {"action": "kill", "session_id": "p-1", "signal": "HUP"},
    ],
)
async def test_what_is_missing_is_named(yard: Yard, arguments: dict[str, Any]) -> None:
    assert (await yard.result("process", **arguments)).error_code == "invalid_args"


def test_a_ring_knows_what_it_has_lost() -> None:
    ring = Ring(10)
    for part in (b"0123456", b"789", b"abc"):
        ring.add(part)
    assert (ring.dropped, ring.total) == (3, 13)
    assert ring.read(0, 4) == ring.read(3, 4)
    assert (ring.read(3, 4).text, ring.read(3, 4).next_offset) == ("3456", 7)
    assert (ring.read(99, 4).text, ring.read(99, 4).next_offset) == ("", 13)


def test_a_piece_cuts_no_character_in_two() -> None:
    ring, text = Ring(), "aé漢🚀z" * 3
    ring.add(text.encode())
    for limit in range(4, 9):
        at, found = 0, ""
        while (piece := ring.read(at, limit)).text:
            at, found = piece.next_offset, found + piece.text
        assert found == text
    assert [whole(data) for data in (b"a", "é".encode()[:1], "漢".encode()[:2], "漢".encode(), b"\x80\x80")] == [
        1, 0, 0, 3, 2,
    ]  # fmt: skip


@pytest.mark.parametrize("levels", [Levels(tools=("ex?c",)), Levels(all=True)])
async def test_a_stop_of_commands_ends_those_in_the_background(yard: Yard, levels: Levels) -> None:
    """security.md §13: with what they started, and no other level does."""
    id = await yard.start("echo $$; (setsid sleep 300 & echo $!; echo ready; wait)")
    await yard.process("watch_patterns", id, patterns=["ready"])
    pids = (await yard.process("log", id))["text"].split()[:2]
    house = House(Settings(), yard.system, "1", "node", 0, brake=Brake())
    admin = Context(house, Caller(user_id="lan", role=Role.ADMIN))
    for other in (Levels(network=True), Levels(tools=("web_*",)), Levels(domains=("example.com",))):
        await set_estop(admin, SetEstop(engage=True, levels=other))
    assert (await yard.process("poll", id))["running"]

    await set_estop(admin, SetEstop(engage=True, levels=levels))

    assert not (await yard.process("poll", id, timeout_ms=5000))["running"]
    assert not [pid for pid in pids if alive(pid)]
