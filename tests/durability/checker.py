"""Was anything lost, doubled, or out of order? Reads the database and what clients and the vendor wrote down.

It knows nothing of how the gateway works: `violations` is empty or says in sentences what is wrong.
Contract: durability.md §14 (C1–C6), reliability.md §6.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import namedtuple_row

from goclaw.domain.run_states import flaws
from tests.fakes.scripted import SCRIPT, ScriptedVendor, marks

TERMINAL = ("SUCCEEDED", "FAILED", "CANCELED", "DEAD_LETTER")
WORKING = ("CLAIMED", "RUNNING")
UNKNOWN = "Outcome unknown"  # how a result begins whose effect may or may not have happened


@dataclass
class Said:
    """One input, as its client knows it."""

    text: str
    session: str
    run_id: str = ""  # acknowledged: this run answers it
    content: str | None = None  # the answer it was given
    error: str = ""  # or the refusal that ended it

    @property
    def nonce(self) -> str:
        found = SCRIPT.fullmatch(self.text)
        assert found is not None
        return found["nonce"]


@dataclass
class Evidence:
    """Everything there is to read."""

    said: Sequence[Said]
    vendor: ScriptedVendor | None = None
    lines: Sequence[str] = ()  # of the file that the unsafe tool appends to
    tables: dict[str, list[Any]] = field(default_factory=dict)

    def __getattr__(self, name: str) -> list[Any]:
        return self.tables[name]

    def runs_of(self, said: Said) -> list[Any]:
        return [run for run in self.runs if run.text == said.text and run.session_key == said.session]


TABLES = {
    "runs": """
        SELECT run_id::text, tenant_id::text, session_key, state, kind, attempt, crash_count, fence, reason_code,
          request->>'message' AS text, result->>'content' AS content, lease_owner, merged_into FROM runs ORDER BY run_id
    """,
    "events": """
        SELECT event_id, run_id::text, session_key, session_seq, type, state_from, state_to, attempt, fence,
          node_id::text, reason_code, extract(epoch FROM at)::float8 AS at, prev_hash, hash,
          run_event_hash(e) AS expected FROM run_events e ORDER BY event_id
    """,
    "heads": "SELECT session_key, running, queued, max_concurrent, next_seq FROM session_heads",
    "messages": """
        SELECT s.session_key, m.seq, m.role, m.content, m.run_id::text FROM session_messages m
        JOIN sessions s ON s.id = m.session_id ORDER BY s.session_key, m.seq
    """,
    "steps": """
        SELECT run_id::text, step_no, kind, fence, extract(epoch FROM at)::float8 AS at FROM run_steps
        ORDER BY run_id, step_no
    """,
    "effects": """
        SELECT idempotency_key, run_id::text, step_no, call_index, tool, effect_class, status, fence FROM tool_effects
        ORDER BY idempotency_key
    """,
}


def gather(dsn: str, said: Sequence[Said], vendor: ScriptedVendor | None = None, lines: Sequence[str] = ()) -> Evidence:
    with psycopg.connect(dsn, row_factory=namedtuple_row) as db:
        tables = {name: db.execute(query).fetchall() for name, query in TABLES.items()}
    return Evidence(said, vendor, lines, tables)


def violations(evidence: Evidence) -> list[str]:
    return [f"{check.__name__}: {problem}" for check in CHECKS for problem in check(evidence)]


def verify(evidence: Evidence) -> None:
    """Raises AssertionError that says what is wrong, and how often."""
    if found := violations(evidence):
        raise AssertionError(f"{len(found)} violations\n" + "\n".join(found[:20]))


def by_run(rows: Iterable[Any]) -> dict[str, list[Any]]:
    grouped: defaultdict[str, list[Any]] = defaultdict(list)
    for row in rows:
        grouped[row.run_id].append(row)
    return grouped


def by_session(rows: Iterable[Any]) -> dict[str, list[Any]]:
    grouped: defaultdict[str, list[Any]] = defaultdict(list)
    for row in rows:
        grouped[row.session_key].append(row)
    return grouped


# --- what clients were told -------------------------------------------------------------------------


def loss(e: Evidence) -> Iterable[str]:
    """C1: an acknowledged input has exactly one run, it has ended, and it ended as its client was told."""
    for said in e.said:
        found = e.runs_of(said)
        if len(found) > 1 or (said.run_id and not found):
            yield f"{said.text} has {len(found)} runs"
            continue
        if not found:
            continue  # never acknowledged and never done
        (run,) = found
        if said.run_id not in ("", run.run_id):
            yield f"{said.text} was acknowledged as {said.run_id} and is {run.run_id}"
        if run.state not in TERMINAL:
            yield f"{said.text} is still {run.state}"
        if said.content is not None and (run.state, run.content) != ("SUCCEEDED", said.content):
            yield f"{said.text} was answered {said.content!r}, stored is {run.state} {run.content!r}"
        if said.error and run.state == "SUCCEEDED":
            yield f"{said.text} was refused with {said.error} and answered all the same"


def double(e: Evidence) -> Iterable[str]:
    """C2: a turn that succeeded stands in the history once, with one answer; one that did not has none."""
    users = Counter((m.session_key, m.content) for m in e.messages if m.role == "user")
    answers = Counter(m.run_id for m in e.messages if m.role == "assistant" and m.content)
    for run in e.runs:
        wanted = int(run.state == "SUCCEEDED")
        if answers[run.run_id] != wanted:
            yield f"{run.text} is {run.state} and has {answers[run.run_id]} answers in the history"
        if users[run.session_key, run.text] > 1:
            yield f"{run.text} stands {users[run.session_key, run.text]} times in the history"
        if wanted and not users[run.session_key, run.text]:
            yield f"{run.text} was answered and is not in the history"


def order(e: Evidence) -> Iterable[str]:
    """C6: a session's runs begin in the order they came, and never more of them work at once than may."""
    most = {head.session_key: head.max_concurrent for head in e.heads}
    for session, events in by_session(e.events).items():
        came = [event.run_id for event in events if event.state_from is None and event.state_to == "QUEUED"]
        began = list(dict.fromkeys(event.run_id for event in events if event.state_to == "RUNNING"))
        if began != [run for run in came if run in began]:
            yield f"{session} began its runs in another order than they came"
        working: set[str] = set()
        for event in events:
            if event.state_to in WORKING:
                working.add(event.run_id)
            elif event.state_to is not None:
                working.discard(event.run_id)
            if len(working) > most[session]:
                yield f"{session} had {len(working)} runs at work, {most[session]} may"
                break


# --- what was written down --------------------------------------------------------------------------


def path(e: Evidence) -> Iterable[str]:
    """C3: the events of a run are a legal path from nothing to where it is, and its fence counts its claims."""
    events = by_run(e.events)
    for run in e.runs:
        for flaw in flaws(events[run.run_id], run.state):
            yield f"{run.text}: {flaw}"
        claims = sum(event.state_to == "CLAIMED" for event in events[run.run_id])
        if claims != run.fence:
            yield f"{run.text} was claimed {claims} times and has fence {run.fence}"


def chain(e: Evidence) -> Iterable[str]:
    """Every event carries the hash of itself and of the one before."""
    for run_id, events in by_run(e.events).items():
        before = "0" * 64
        for event in events:
            if event.prev_hash != before or event.hash != event.expected:
                yield f"the chain of {run_id} is broken at event {event.event_id} ({event.type})"
                break
            before = event.hash


def sequence(e: Evidence) -> Iterable[str]:
    """A session's events are numbered from 1 without a gap, its messages too."""
    heads = {head.session_key: head.next_seq for head in e.heads}
    for session, events in by_session(e.events).items():
        numbers = sorted(event.session_seq for event in events)
        if numbers != list(range(1, len(numbers) + 1)) or heads[session] != len(numbers) + 1:
            yield f"{session} has event numbers {numbers[:3]}…{numbers[-3:]} for {len(numbers)}, next {heads[session]}"
    for session, messages in by_session(e.messages).items():
        seqs = [message.seq for message in messages]
        if seqs != list(range(seqs[0], seqs[0] + len(seqs))):
            yield f"{session} has gaps in its history: {seqs}"


def heads(e: Evidence) -> Iterable[str]:
    """C4: nothing is counted as waiting or working."""
    for head in e.heads:
        if head.running or head.queued:
            yield f"the head of {head.session_key} says running {head.running}, queued {head.queued}"


def fence(e: Evidence) -> Iterable[str]:
    """No row was written by somebody who had lost the run by then."""
    events = by_run(e.events)
    claimed_at = {(ev.run_id, ev.fence): ev.at for ev in e.events if ev.state_to == "CLAIMED"}
    for run in e.runs:
        held, owner = 0, None
        for event in events[run.run_id]:
            if event.state_to == "CLAIMED":
                held, owner = event.fence, event.node_id
            elif event.state_to in ("RUNNING", "SUCCEEDED") and (event.fence, event.node_id) != (held, owner):
                yield f"{run.text}: {event.type} by {event.node_id} fence {event.fence}, held by {owner} fence {held}"
        if run.state in TERMINAL and run.lease_owner is not None:
            yield f"{run.text} is {run.state} and still leased"
    for step in e.steps:
        next_claim = claimed_at.get((step.run_id, step.fence + 1))
        if next_claim is not None and step.at > next_claim:
            yield f"step {step.step_no} of {step.run_id} was written under fence {step.fence} after the next claim"


# --- what happened outside --------------------------------------------------------------------------


def effect(e: Evidence) -> Iterable[str]:
    """C5: an unsafe effect happened at most once, and once if the run says it did; a keyed one has one key."""
    counts = Counter(e.lines)
    for line, times in counts.items():
        if times > 1:
            yield f"{line} was done {times} times"
    if e.vendor is None:
        return
    keys: defaultdict[str, set[str]] = defaultdict(set)
    for key, posted in e.vendor.posted.items():
        for mark in posted:
            keys[mark].add(key)
    for mark, used in keys.items():
        if len(used) > 1:
            yield f"{mark} was posted under {len(used)} keys"
    for run in e.runs:
        if run.state != "SUCCEEDED" or not SCRIPT.fullmatch(run.text or ""):
            continue
        for mark in marks(run.text):
            told = f"did {mark}" in run.content
            if told and not counts[mark] + len(keys[mark]):
                yield f"{mark} was told as done and was not"
            if not told and f"echoed {mark}" not in run.content and UNKNOWN not in run.content:
                yield f"nobody says what became of {mark}: {run.content!r}"


def repeated(e: Evidence) -> Iterable[str]:
    """A model call whose answer is stored is not made again."""
    if e.vendor is None:
        return
    steps = by_run(step for step in e.steps if step.kind == "llm")
    for run in e.runs:
        script = SCRIPT.fullmatch(run.text or "")
        for number, step in enumerate(steps[run.run_id] if script else ()):
            late = [at for at in e.vendor.times[script["nonce"], number] if at > step.at]
            if late:
                yield f"{run.text}: step {number} was asked for again after it was stored"


Check = Callable[[Evidence], Iterable[str]]
CHECKS: tuple[Check, ...] = (loss, double, order, path, chain, sequence, heads, fence, effect, repeated)


class Counts(NamedTuple):
    """What a table of a proof shows beside "0 lost, 0 double"."""

    inputs: int
    acknowledged: int
    answered: int
    runs: int
    recovered: int
    dead: int


def counts(e: Evidence) -> Counts:
    return Counts(
        inputs=len(e.said),
        acknowledged=sum(bool(said.run_id) for said in e.said),
        answered=sum(said.content is not None for said in e.said),
        runs=len(e.runs),
        recovered=sum(run.crash_count > 0 for run in e.runs),
        dead=sum(run.state == "DEAD_LETTER" for run in e.runs),
    )
