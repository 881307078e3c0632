"""The audit's chain: each line holds the hash of the one before, so that a changed or missing one shows.

Contract: security.md §11.1, observability.md §12.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from msgspec import Struct, field

from goclaw.security.known import NOTHING, Forms
from goclaw.security.scrub import scrubbed

FIRST = "0" * 64  # what comes before the first line
DETAILS = 4096  # bytes
TEXT = 500  # characters of a subject or a reason; our decision
GAP = "audit.gap"
CUT = "audit.cut"

Decision = Literal["allow", "deny", "info", "error"]
ActorType = Literal["user", "agent", "system", "node", "api_key"]
Why = Literal["hash", "gap", "order", "sinks differ"]
Line = dict[str, Any]


class Act(Struct, frozen=True, kw_only=True):
    """What happened or was decided. Never secret values, texts of messages or content of files."""

    action: str  # dotted, ≤ 60 characters; security.md §11.2
    decision: Decision = "info"
    tenant_id: str | None = None
    actor_type: ActorType = "system"
    actor_id: str = "gateway"
    subject: str = ""
    reason: str = ""
    policy_version: str | None = None
    run_id: str | None = None
    trace_id: str | None = None
    ip: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)  # ≤ 4 KiB


class Break(Struct, frozen=True, kw_only=True):
    """The first line that is not as it was written, or is not there."""

    chain: str
    seq: int
    why: Why


def canonical(line: Mapping[str, Any]) -> str:
    plain = {name: value for name, value in line.items() if name != "hash"}
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(line: Mapping[str, Any]) -> str:
    return hashlib.sha256((str(line["prev_hash"]) + canonical(line)).encode("utf-8", "replace")).hexdigest()


def entry(act: Act, at: datetime, known: Forms = NOTHING) -> Line:
    """A line without its place in the chain: scrubbed (of `known` secrets too), cut, and as every sink keeps it."""
    members = _plain(scrubbed(dict(act.details), known))
    size = len(canonical(members).encode())
    return {
        "ts": stamp(at),
        "tenant_id": _id(act.tenant_id),
        "actor_type": act.actor_type,
        "actor_id": _text(act.actor_id, 255),
        "action": _text(act.action, 60),
        "decision": act.decision,
        "subject": _text(scrubbed(act.subject, known), TEXT),
        "reason": _text(scrubbed(act.reason, known), TEXT),
        "policy_version": _text(act.policy_version, 64) if act.policy_version else None,
        "trace_id": _id(act.trace_id),
        "run_id": _id(act.run_id),
        "ip": _text(act.ip, 45) if act.ip else None,
        "details": members if size <= DETAILS else {"cut": size},
    }


def chained(line: Line, chain: str, seq: int, prev_hash: str) -> Line:
    placed = {**line, "chain": chain, "seq": seq, "prev_hash": prev_hash}
    return {**placed, "hash": digest(placed)}


def stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Checker:
    """Reads lines in the order they were written, of one sink, and finds the first that is wrong.

    A chain may begin anywhere: what was before is in an older file, or was forgotten by retention.
    """

    def __init__(self, sink: Literal["file", "table"]) -> None:
        self._sink = sink
        self._last: dict[str, tuple[int, str]] = {}
        self._missing: list[tuple[int, Break, int]] = []  # which line showed it, the gap and its end
        self._told: list[tuple[str, int, int]] = []
        self._wrong: tuple[int, Break] | None = None
        self.lines = 0

    @property
    def heads(self) -> dict[str, tuple[int, str]]:
        """The last line of every chain: its number and its hash."""
        return self._last

    def read(self, line: Line) -> None:
        self.lines += 1
        if self._wrong is not None:
            return
        chain, seq = str(line.get("chain", "")), line.get("seq")
        last = self._last.get(chain)
        if not isinstance(seq, int) or "prev_hash" not in line or digest(line) != line.get("hash"):
            return self._found(chain, seq if isinstance(seq, int) else (last or (0,))[0] + 1, "hash")
        before = last[0] if last is not None else 0 if seq == 1 else None
        if before is not None and seq <= before:
            return self._found(chain, seq, "order")
        if before is not None and seq == before + 1 and line["prev_hash"] != (last[1] if last else FIRST):
            return self._found(chain, seq, "hash")
        if before is not None and seq > before + 1:
            self._missing.append((self.lines, Break(chain=chain, seq=before + 1, why="gap"), seq - 1))
        if line.get("action") == GAP and line.get("details", {}).get("sink") == self._sink:
            self._told.append((chain, line["details"].get("from_seq", 0), line["details"].get("to_seq", -1)))
        self._last[chain] = (seq, str(line["hash"]))

    def broken(self) -> Break | None:
        """The first break among all that was read. A gap that its writer told of later is none."""
        open_gaps = [
            (at, gap)
            for at, gap, end in self._missing
            if not any(chain == gap.chain and first <= gap.seq and end <= last for chain, first, last in self._told)
        ]
        found = open_gaps[:1] + ([self._wrong] if self._wrong else [])
        return min(found, key=lambda one: one[0])[1] if found else None

    def _found(self, chain: str, seq: int, why: Why) -> None:
        self._wrong = self.lines, Break(chain=chain, seq=seq, why=why)


def check(lines: Iterable[Line], sink: Literal["file", "table"] = "file") -> Break | None:
    checker = Checker(sink)
    for line in lines:
        checker.read(line)
    return checker.broken()


def _text(text: Any, most: int) -> str:
    return str(text).replace("\0", "")[:most].encode("utf-8", "replace").decode()


def _plain(value: Any) -> Any:
    """JSON that every sink gives back as it got it: a fraction becomes text, for a database writes it its own way."""
    match value:
        case dict():
            return {_text(name, 100): _plain(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case bool() | None:
            return value
        case int():
            return value if abs(value) < 2**53 else str(value)
        case str():
            return _text(value, DETAILS)
        case _:
            return _text(value, DETAILS)


def _id(text: str | None) -> str | None:
    try:
        return str(UUID(text)) if text else None
    except ValueError:
        return None
