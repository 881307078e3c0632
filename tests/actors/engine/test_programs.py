"""Agents that are programs, in a house: runs ask them, and their actor's end is theirs. Contract: providers.md §7."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import msgspec
import trio
from msgspec.structs import replace

from goclaw.actors.engine.program import ProgramActor
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import provider
from goclaw.domain.events import of_admins
from goclaw.domain.run import Replay, RunRequest
from goclaw.domain.session import Abort, Accepted
from goclaw.runtime.address import Address
from goclaw.runtime.cell import Cell
from goclaw.runtime.inbox import inbox
from goclaw.settings.providers import Providers
from goclaw.settings.subprocess import AcpAgent
from goclaw.stores.database import Database
from tests.actors.engine.test_replays import replayed
from tests.actors.house import KEY, house, turn
from tests.actors.talk import Talk

AGENT = Path(__file__).parents[2] / "fakes/agents/acp.py"


async def gone(pid: int) -> None:
    try:
        watch = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    with trio.fail_after(10):
        await trio.lowlevel.wait_readable(watch)
    os.close(watch)


def pids(journal: Path) -> list[int]:
    return [int(line.split()[1]) for line in journal.read_text().splitlines() if line.startswith("started ")]


async def say(talk: Talk, text: str) -> Accepted:
    asked = RunRequest(message=text, provider="acp", model="claude")
    return await talk.system.ask(talk.here, replace(await turn(talk.database), request=asked), within=5)


async def test_runs_are_answered_by_an_agent_that_ends_with_its_actor(database: Database, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    args = ("-S", "-I", str(AGENT), "--journal", str(journal))
    settings = Providers(acp=AcpAgent(binary=sys.executable, args=args))

    async with house(database, tmp_path, providers=settings) as system:
        talk = Talk(database, system, None, KEY)
        with inbox(system, Address("edge", "http", "ear"), "Ear", talk.hear) as ear:
            ear.join(of_admins(MASTER_TENANT))
            tools = await say(talk, "think")
            assert [result.content for result in await talk.ended(tools.run_id)] == ["Let me look.\n\nSeen."]
            same = await replayed(system, database, Replay(of=tools.run_id))
            other = await replayed(system, database, Replay(of=tools.run_id, mode="what_if", user="who?"))
            assert (same.verdict, other.final.replayed) == ("identical", "heard: who?")
            held = await say(talk, "hang")
            await talk.until(lambda: [event for event in talk.events if event.text == "wait"])
            await system.ask(talk.here, Abort(user_id="lan", as_admin=False, run_id=held.run_id), within=5)
            (stopped,) = await talk.ended(held.run_id)
            assert stopped.cancelled
            assert stopped.content == "wait"
            again = await say(talk, "back")
            assert [result.content for result in await talk.ended(again.run_id)] == ["heard: back"]

            cell = system.members[provider("acp")]
            assert isinstance(cell, Cell)
            assert isinstance(cell.actor, ProgramActor)
            cell.kill()
            await gone(pids(journal)[0])
            last = await say(talk, "once more")
            await talk.ended(last.run_id)

        calls = [event for event in talk.events if event.type in ("tool.call", "tool.result")]
        assert [event.type for event in calls] == ["tool.call", "tool.result"]
        assert msgspec.json.decode(calls[0].body)["name"] == "Read a.txt"

    lines = journal.read_text().splitlines()
    assert len(pids(journal)) == 3  # one of them for the replay, which is none of the session's business
    for pid in pids(journal):
        await gone(pid)
    assert sum(line.startswith("load ") for line in lines) == 1
    assert json.loads(next(line for line in lines if line.startswith("new "))[4:])["cwd"].startswith(str(tmp_path))
