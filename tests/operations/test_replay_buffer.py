"""What a run said is kept for who comes back: bounded, in order, honest about what is lost."""

from __future__ import annotations

from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from goclaw.domain.events import RUNS, SOCKETS, Pulse, RunEvent, body
from goclaw.domain.run import RunResult
from goclaw.operations.replay_buffer import COST, KEPT, Limits, ReplayBuffer
from goclaw.runtime.system import System, open_system

EVENTS, BYTES, RINGS, TOTAL = Limits().events, Limits().bytes, Limits().runs, Limits().total
SMALL = Limits(events=10, bytes=4000, runs=2, total=6000)


class Nothing:
    async def run(self, work: Any, /, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("it needs no database")


def said(seq: int, type: str = "chunk", run: str = "r", text: str = "", **payload: Any) -> RunEvent:
    ended = type in ("run.completed", "run.failed", "run.cancelled") and not payload.get("echo")
    return RunEvent(
        type=type, run_id=run, run_seq=seq, ts=0, tenant_id="t", user_id="lan", agent_key="a", session_key="s",
        kind="chat", text=text, body=body(**payload), result=RunResult(run_id=run, session_key="s") if ended else None,
    )  # fmt: skip


def tell(system: System, *events: RunEvent) -> None:
    for event in events:
        system.publish(RUNS, event)


def numbers(buffer: ReplayBuffer, after: int, run: str = "r") -> list[int]:
    replay = buffer.since(run, after)
    assert replay is not None
    return [event.run_seq for event in replay.events]


async def test_what_came_after_a_number_comes_again_in_order() -> None:
    async with open_system(Nothing()) as system:
        buffer = ReplayBuffer(system)
        tell(system, said(1, "run.queued"), said(2, "run.started"), said(3, text="a"), said(4, run="other"))
        tell(system, said(4, text="b"), said(5, "run.completed"), said(6, "run.completed", echo=True))

        assert numbers(buffer, 0) == [1, 2, 3, 4, 5, 6]
        assert numbers(buffer, 3) == [4, 5, 6]
        assert numbers(buffer, 6) == numbers(buffer, 99) == []
        replay = buffer.since("r", 3)
        assert replay is not None
        assert (replay.gap, replay.text, replay.last, buffer.last("r")) == (False, "", 6, 6)
        assert (buffer.since("nobody", 0), buffer.last("nobody")) == (None, 0)


async def test_what_is_too_much_is_forgotten_but_for_the_text_of_its_segment() -> None:
    async with open_system(Nothing()) as system:
        buffer = ReplayBuffer(system)
        tell(system, said(1, "run.queued"), said(2, text="before "), said(3, "tool.call"), said(4, "tool.result"))
        tell(system, *(said(seq, text=f"{seq} ") for seq in range(5, EVENTS + 105)))

        assert numbers(buffer, EVENTS + 100) == [EVENTS + 101, EVENTS + 102, EVENTS + 103, EVENTS + 104]
        replay = buffer.since("r", 50)
        assert replay is not None
        assert replay.gap
        assert len(replay.events) == EVENTS
        assert replay.text.split() == [str(seq) for seq in range(5, EVENTS + 105)]
        kept = buffer.since("r", 104)
        assert kept is not None
        assert not kept.gap, "the oldest kept event follows it"

        tell(system, said(9_000, "run.retrying", reset=True), said(9_001, text="anew"))
        again = buffer.since("r", 50)
        assert again is not None
        assert again.text == "anew"
        tell(system, said(9_002, "tool.result", pad="x" * BYTES))
        big = buffer.since("r", 9_001)
        assert big is not None
        assert ([event.run_seq for event in big.events], big.gap, big.text) == ([9_002], False, "")


async def test_a_run_heard_from_its_second_life_on_has_a_gap_for_who_knew_the_first() -> None:
    async with open_system(Nothing()) as system:
        buffer = ReplayBuffer(system)
        tell(system, said(100_002, "run.recovered"), said(100_003, "run.started"), said(100_004, text="new"))

        for number, gap, text in ((57, True, "new"), (100_001, False, ""), (100_003, False, "")):
            replay = buffer.since("r", number)
            assert replay is not None
            assert (replay.gap, replay.text) == (gap, text)


async def test_a_run_is_forgotten_ten_minutes_after_its_end_unless_it_goes_on(autojump_clock: MockClock) -> None:
    async with open_system(Nothing()) as system:
        buffer = ReplayBuffer(system)
        tell(system, said(1, run="lives"), said(1, "run.completed", run="ended"), said(1, "run.failed", run="again"))
        await trio.sleep(KEPT - 1)
        tell(system, said(2, "run.started", run="again"))
        system.publish(SOCKETS, Pulse())
        assert len(buffer) == 3
        await trio.sleep(1)
        system.publish(SOCKETS, Pulse())
        assert (buffer.last("ended"), buffer.last("again"), buffer.last("lives")) == (0, 2, 1)
        assert buffer.bytes == 3 * (COST + 2)


async def test_the_runs_that_ended_first_give_way_when_all_together_are_too_much() -> None:
    async with open_system(Nothing()) as system:
        buffer = ReplayBuffer(system)
        tell(system, said(1, run="oldest"), *(said(1, "run.completed", run=str(n)) for n in range(RINGS)))
        assert len(buffer) == RINGS
        assert (buffer.last("oldest"), buffer.last("0"), buffer.last("1")) == (1, 0, 1)

        for n in range(TOTAL // BYTES + 2):
            tell(system, said(1, run=f"big{n}", text="x" * (BYTES - COST - 2)))
        assert buffer.bytes <= TOTAL
        assert buffer.last("oldest") == 0, "nothing that ended was left to give way"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 400), st.booleans()), max_size=120),
    st.integers(0, 40),
)
def test_a_replay_is_always_the_end_of_what_was_said(steps: list[tuple[str, int, bool]], after: int) -> None:
    """Small limits, any interleaving: what is replayed is a suffix without holes, or a gap is admitted."""

    async def play() -> None:
        told: dict[str, list[int]] = {}
        async with open_system(Nothing()) as system:
            buffer = ReplayBuffer(system, SMALL)
            for run, size, ends in steps:
                seqs = told.setdefault(run, [])
                seqs.append(len(seqs) + 1)
                tell(system, said(seqs[-1], "run.completed" if ends else "chunk", run=run, text="x" * size))
            for run, seqs in told.items():
                replay = buffer.since(run, after)
                if replay is None:
                    continue
                heard = [event.run_seq for event in replay.events]
                wanted = [seq for seq in seqs if seq > after]
                assert heard == wanted[len(wanted) - len(heard) :]
                assert replay.gap or heard == wanted
            assert buffer.bytes == sum(ring.bytes for ring in buffer._rings.values())
            assert set(buffer._ended) <= set(buffer._rings)

    trio.run(play)
