"""A real process dies at each named point, starts again, and the checker reads what is left.

Contract: durability.md §9.1 (K1–K19), §14 E1, E8; supervision.md §18.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import pytest
import trio

from tests.durability.checker import UNKNOWN, violations
from tests.durability.lives import Lives
from tests.durability.patience import until
from tests.durability.talker import Talker
from tests.fakes.scripted import ScriptedVendor


@dataclass(frozen=True)
class Point:
    """What dies where, and what is special about the life after it."""

    crash_at: str
    steps: str = ""  # of the script of the one input
    asked: tuple[int, ...] = (1,)  # how often the vendor is asked for each step of it, in all
    crashes: int = 1  # counted against the run
    done: int = 0  # effects there are in the end
    unknown: bool = False  # the model is told that the outcome of its call is not known


POINTS = {
    "K1": Point("ingress.accepting", crashes=0),
    "K2": Point("ingress.accepted"),
    "K4": Point("run.claimed"),
    "K5": Point("run.context"),
    "K6": Point("llm.streaming", asked=(2,)),
    "K7": Point("llm.answered", asked=(2,)),
    "K8": Point("step.committed", "append", asked=(1, 1), done=1),
    "K9 unsafe": Point("effect.started", "append", asked=(1, 1), unknown=True),
    "K9 checkable": Point("effect.started", "pay", asked=(1, 1), done=1),
    "K10 unsafe": Point("effect.done", "append", asked=(1, 1), done=1, unknown=True),
    "K10 keyed": Point("effect.done", "post", asked=(1, 1), done=1),
    "K10 checkable": Point("effect.done", "pay", asked=(1, 1), done=1),
    "K10 local": Point("effect.done", "note", asked=(1, 1), done=1),
    "K11": Point("effect.finished", "append", asked=(1, 1), done=1),
    "K12": Point("effect.finished:1", "append+append", asked=(1, 1), done=2),
    "K13": Point("run.finishing", asked=(2,)),
    "K14": Point("run.finished", crashes=0),
}
"""K3, K17 and K18 have tests below, K19 one of its own, K15 (outbox.sent) one beside the outbox, K16 (delegation) waits
for what it is about.
"""


@pytest.mark.parametrize("name", POINTS)
async def test_a_process_killed_here_loses_and_doubles_nothing(
    name: str, lives: Callable[..., Lives], vendor: ScriptedVendor
) -> None:
    """AL-16 is K12: the first tool is not repeated. AL-17 is K9 and K10 of an unsafe tool: the model is told so."""
    point = POINTS[name]
    gateway = lives()
    gateway.live(crash_at=point.crash_at)
    talker = Talker(gateway, "ada")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(talker.say, f"n1 {point.steps}".strip())
        await gateway.died()
        gateway.live()

    await gateway.quiet()
    evidence = gateway.evidence(talker.notes, vendor)
    assert violations(evidence) == []
    (said,), (run,) = talker.notes, evidence.runs
    assert (run.state, run.crash_count, run.attempt) == ("SUCCEEDED", point.crashes, 1)
    assert said.content is not None
    assert said.content.startswith("answer n1")
    assert [len(vendor.times["n1", step]) for step in range(len(point.asked))] == list(point.asked)
    assert (UNKNOWN in said.content) == point.unknown
    assert len(evidence.lines) + len(vendor.posted) == point.done


async def test_a_process_killed_while_runs_wait_for_their_slot(
    lives: Callable[..., Lives], vendor: ScriptedVendor
) -> None:
    """K3."""
    gateway = lives(queue={"lanes": {"main": 1}})
    gateway.live()
    ada, *others = talkers = [Talker(gateway, name) for name in ("ada", "bob", "cat", "dan")]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ada.say, "n1 hold")
        await vendor.holds(1)
        for number, other in enumerate(others, 2):
            nursery.start_soon(other.say, f"n{number}")
        await until(lambda: all(other.notes and other.notes[0].run_id for other in others), within=5)
        gateway.kill()
        vendor.release()
        gateway.live()

    await gateway.quiet()
    evidence = gateway.evidence([said for talker in talkers for said in talker.notes], vendor)
    assert violations(evidence) == []
    assert {(run.state, run.attempt) for run in evidence.runs} == {("SUCCEEDED", 1)}
    assert sum(run.crash_count for run in evidence.runs) == 1
    assert [len(vendor.times[f"n{number}", 0]) for number in (2, 3, 4)] == [1, 1, 1]


@pytest.mark.parametrize("point", ["session.noting", "session.noted", "session.compacting"])
async def test_a_process_killed_while_a_history_gets_shorter_by_itself_does_it_once_in_the_end(
    point: str, lives: Callable[..., Lives], vendor: ScriptedVendor
) -> None:
    """K18. Nobody writes the notes, so they are taken over from what was said."""
    shorter = {"min_messages": 6, "keep_last_messages": 2, "memory_flush": {"prompt": "!fault-400"}}
    gateway = lives(agents={"defaults": {"compaction": shorter}})
    gateway.live(crash_at=point)
    key = "agent:default:ws:direct:ada"

    async with gateway.client("ada") as ada:
        for text in ("I prefer tea", "so be it", "what else", "and now"):
            await ada.hears("run.completed", (await ada.chat(text, key))["runId"])
        await gateway.died()
    gateway.live()
    assert gateway.compactions(key) == (8, 0, 0)
    async with gateway.client("ada") as ada:
        await ada.hears("run.completed", (await ada.chat("still there?", key))["runId"])
        await ada.until(lambda: any(frame["payload"].get("compacted") for frame in ada.events))

    assert gateway.compactions(key) == (3, 1, 7), "three tenths of ten stay"
    (notes,) = (gateway.home / "workspace").rglob("memory/*.md")
    assert notes.read_text().count("I prefer tea") == 1


async def test_a_process_killed_while_it_compacts_keeps_the_history_and_compacts_later(
    lives: Callable[..., Lives], vendor: ScriptedVendor
) -> None:
    """K18."""
    gateway = lives()
    gateway.live(crash_at="session.compacting")
    talker = Talker(gateway, "ada")
    await talker.say("n1", "n2", "n3", "n4", pipeline=1)
    compact = f"/v1/sessions/{talker.session}/compact"

    async with gateway.http(x_goclaw_user_id="ada") as http:
        with pytest.raises(httpx.HTTPError):
            await http.post(compact)
    await gateway.died()
    gateway.live()

    assert violations(gateway.evidence(talker.notes, vendor)) == []
    async with gateway.http(x_goclaw_user_id="ada") as http:
        before = (await http.get(f"/v1/sessions/{talker.session}")).json()["messages"]
        assert (await http.post(compact)).json()["skipped"] is False
    assert len(before) == 8


async def test_a_process_killed_while_an_approval_waits_asks_the_same_again_and_does_it_once(
    lives: Callable[..., Lives], vendor: ScriptedVendor
) -> None:
    """K17. Killed before anybody was told, killed again while somebody thinks; then he says yes."""
    gateway = lives(tools={"allow": ["exec"], "execApproval": {"ask": "always"}})
    gateway.live(crash_at="approval.requested")
    key = "agent:default:ws:direct:ada"
    call = json.dumps({"command": "echo done >> done.txt"})
    row = "SELECT name, code, status, extract(epoch FROM expires_at) FROM exec_approvals"

    async with gateway.client("ada") as ada:
        await ada.send("chat.send", message=f"!tool {call}", sessionKey=key)
        await gateway.died()
    gateway.live()
    asked = gateway.rows(row)
    async with gateway.client("ada") as ada:
        (first,) = (await ada.ask("exec.approval.list"))["pending"]
        (run,) = gateway.rows("SELECT run_id::text FROM runs")
        await until(lambda: gateway.rows("SELECT state FROM runs") == [("RUNNING",)], within=10)
    gateway.kill()
    gateway.live()
    async with gateway.client("ada") as ada:
        (again,) = (await ada.ask("exec.approval.list"))["pending"]
        yes = {"type": "req", "id": "yes", "method": "exec.approval.approve", "params": {"id": again["id"]}}
        await ada.raw(json.dumps(yes))
        assert (await ada.answer("yes"))["decision"] == "allow_once"
        await gateway.quiet()
        (said,) = [one["content"] for one in await ada.history(key) if one["role"] == "assistant" and one["content"]]

    assert gateway.rows(row) == [(*asked[0][:2], "allow_once", asked[0][3])]
    assert asked[0][2] == "pending"
    assert first == again
    assert (first["id"], first["runId"]) == (asked[0][0], run[0])
    (done,) = (gateway.home / "workspace").rglob("done.txt")
    assert done.read_text() == "done\n"
    assert said == "the tool said: (command completed with no output)"
    assert gateway.rows("SELECT state, attempt FROM runs") == [("SUCCEEDED", 1)]
