"""A slow reader costs a known amount and loses nothing that counts. Contract: edge-websocket.md §6.2, §6.3."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from goclaw.edge.ws.outbox import BYTES, FRAMES, MERGE, Entry, Outbox

MIB = 1024 * 1024


def keep(n: int, size: int = 0) -> Entry:
    return Entry("keep", "session.updated", {"n": n, "pad": "x" * size})


def delta(run: str, seq: int, text: str, kind: str = "chunk") -> Entry:
    return Entry("merge", "agent", {"type": kind, "runId": run, "runSeq": seq}, key=(run, kind), text=text)


def tick(n: int, size: int = 0) -> Entry:
    return Entry("newest", "tick", {"ts": n, "pad": "x" * size}, more={"stateVersion": {"health": 1}})


def drain(outbox: Outbox) -> list[dict[str, Any]]:
    frames = []
    while len(outbox):
        frames.append(json.loads(outbox.take()))
    return frames


def test_what_is_put_comes_out_in_order_and_numbered() -> None:
    outbox = Outbox()
    for entry in (keep(1), Entry("keep", "", '{"type":"res"}'), delta("r", 1, "a"), tick(2)):
        assert outbox.put(entry)

    frames = drain(outbox)

    assert [frame["type"] for frame in frames] == ["event", "res", "event", "event"]
    assert [frame.get("seq") for frame in frames] == [1, None, 2, 3]  # events only
    assert frames[3]["stateVersion"] == {"health": 1}


def test_a_delta_carries_its_text_twice() -> None:
    outbox = Outbox()
    outbox.put(delta("r", 4, "xin chào"))
    (frame,) = drain(outbox)
    assert frame["payload"] == {
        "type": "chunk",
        "runId": "r",
        "runSeq": 4,
        "text": "xin chào",
        "payload": {"content": "xin chào"},
    }


def test_deltas_stay_apart_while_the_reader_keeps_up() -> None:
    outbox = Outbox()
    for seq in range(MERGE):
        outbox.put(delta("r", seq, "a"))
    assert len(outbox) == MERGE
    assert all("runSeqFrom" not in frame["payload"] for frame in drain(outbox))


def test_deltas_of_a_slow_reader_become_one_that_says_which() -> None:
    outbox = Outbox()
    for n in range(MERGE - 1):
        outbox.put(keep(n))
    for seq in range(1, 50_001):
        assert outbox.put(delta("r", seq, f"{seq} "))

    assert len(outbox) == MERGE
    merged = drain(outbox)[-1]["payload"]
    assert (merged["runSeqFrom"], merged["runSeq"]) == (1, 50_000)
    assert merged["text"].split() == [str(seq) for seq in range(1, 50_001)]


def test_deltas_of_different_runs_or_kinds_never_become_one() -> None:
    outbox = Outbox()
    for n in range(MERGE):
        outbox.put(keep(n))
    for run, kind in (("r", "chunk"), ("r", "thinking"), ("s", "thinking"), ("s", "thinking")):
        outbox.put(delta(run, 1, "a", kind))
    assert len(outbox) == MERGE + 3


def test_the_oldest_tick_gives_way_and_the_reader_is_told() -> None:
    outbox = Outbox()
    assert all(outbox.put(tick(n)) for n in range(FRAMES))

    assert outbox.put(keep(0))
    assert outbox.put(keep(1))

    frames = drain(outbox)
    assert frames[0]["event"] == "system.backpressure"
    assert frames[0]["payload"] == {"dropped": 2, "classes": ["C"], "queued": FRAMES}
    assert frames[1]["payload"]["ts"] == 2
    assert [frame["seq"] for frame in frames] == list(range(1, FRAMES + 2))


def test_a_tick_without_room_is_the_one_that_is_dropped() -> None:
    outbox = Outbox()
    assert all(outbox.put(keep(n)) for n in range(FRAMES))
    assert outbox.put(tick(1))
    assert drain(outbox)[0]["payload"]["dropped"] == 1


def test_when_only_frames_to_keep_are_left_the_reader_is_too_slow() -> None:
    outbox = Outbox()
    assert all(outbox.put(keep(n)) for n in range(FRAMES))
    assert not outbox.put(keep(FRAMES))
    assert not outbox.put(delta("r", 1, "a"))
    assert len(drain(outbox)) == FRAMES


def test_bytes_are_counted_as_utf8() -> None:
    outbox = Outbox()
    assert outbox.put(Entry("keep", "", "名" * MIB))  # 3 MiB
    assert not outbox.put(Entry("keep", "", "名" * (MIB // 2)))
    assert not outbox.put(keep(1, 2 * MIB))
    assert not outbox.put(delta("r", 1, "é" * MIB))


def test_a_merge_never_goes_beyond_the_bound() -> None:
    outbox = Outbox()
    for n in range(MERGE):
        outbox.put(keep(n))
    puts = 0
    while outbox.put(delta("r", puts, "x" * 10_000)):
        puts += 1
    assert 350 < puts < 420
    assert len(drain(outbox)[-1]["payload"]["text"]) == puts * 10_000


class Reader(RuleBasedStateMachine):
    """Whatever is put and taken: bounds, order, and nothing lost but ticks."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox()
        self.kept: list[int] = []
        self.said: dict[tuple[str, str], str] = defaultdict(str)
        self.read: list[dict[str, Any]] = []
        self.puts = 0
        self.ticks = 0

    def put(self, entry: Entry) -> bool:
        self.puts += 1
        return self.outbox.put(entry)

    @rule(count=st.integers(1, 150), size=st.sampled_from([0, 0, 10, 50_000]))
    def keep_some(self, count: int, size: int) -> None:
        for _ in range(count):
            if self.put(keep(self.puts, size)):
                self.kept.append(self.puts - 1)

    @rule(
        count=st.integers(1, 150),
        run=st.sampled_from("rs"),
        kind=st.sampled_from(["chunk", "thinking"]),
        text=st.sampled_from(["a", "名前", "", "x" * 30_000]),
    )
    def say(self, count: int, run: str, kind: str, text: str) -> None:
        for _ in range(count):
            if self.put(delta(run, self.puts, text, kind)):
                self.said[run, kind] += text

    @rule(count=st.integers(1, 150), size=st.sampled_from([0, 10_000]))
    def tick_some(self, count: int, size: int) -> None:
        for _ in range(count):
            assert self.put(tick(self.puts, size))
            self.ticks += 1

    @precondition(lambda self: len(self.outbox) > 0)
    @rule(count=st.integers(1, 200))
    def take(self, count: int) -> None:
        for _ in range(count):
            if len(self.outbox):
                self.read.append(json.loads(self.outbox.take()))

    @invariant()
    def is_bounded(self) -> None:
        assert len(self.outbox) <= FRAMES
        entries = self.outbox._entries
        assert sum(len(held(entry)) for entry in entries) <= BYTES
        assert self.outbox._bytes == sum(entry.size for entry in entries)

    def teardown(self) -> None:
        self.read += drain(self.outbox)
        assert [frame["seq"] for frame in self.read] == list(range(1, len(self.read) + 1))
        assert [f["payload"]["n"] for f in self.read if f["event"] == "session.updated"] == self.kept
        heard: dict[tuple[str, str], str] = defaultdict(str)
        last: dict[str, int] = defaultdict(lambda: -1)
        for frame in self.read:
            if frame["event"] == "agent":
                payload = frame["payload"]
                heard[payload["runId"], payload["type"]] += payload["text"]
                assert last[payload["runId"]] < payload.get("runSeqFrom", payload["runSeq"]) <= payload["runSeq"]
                last[payload["runId"]] = payload["runSeq"]
        assert heard == {key: text for key, text in self.said.items() if key in heard}
        assert all(not text for key, text in self.said.items() if key not in heard)
        ticks = [frame["payload"]["ts"] for frame in self.read if frame["event"] == "tick"]
        assert ticks == sorted(ticks)
        dropped = sum(f["payload"]["dropped"] for f in self.read if f["event"] == "system.backpressure")
        assert len(ticks) + dropped == self.ticks


def held(entry: Entry) -> bytes:
    payload = entry.payload if isinstance(entry.payload, str) else msgspec.json.encode(entry.payload).decode()
    return (payload if entry.kind != "merge" else "").encode() + entry.text.getvalue().encode()


Reader.TestCase.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)
TestReader = Reader.TestCase


@given(st.text(), st.text())
def test_any_text_survives_a_merge(one: str, other: str) -> None:
    first = delta("r", 1, one)
    assert delta("r", 2, other).joins(first)
    first.join(delta("r", 2, other))
    assert first.text.getvalue() == one + other
