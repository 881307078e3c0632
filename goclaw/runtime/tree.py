"""The living tree as data, for operators. Contract: supervision.md §15, edge-http.md §26."""

from __future__ import annotations

from collections import Counter
from typing import Any

import structlog
import trio

from goclaw.runtime.actor import Actor
from goclaw.runtime.address import Address
from goclaw.runtime.cell import Cell
from goclaw.runtime.child import State
from goclaw.runtime.crash import Crash
from goclaw.runtime.inbox import Inbox
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import Member, System

log = structlog.get_logger()

SHOWN = 200  # children listed per node; the rest is a count
SLICE = 200  # nodes between two checkpoints, so a snapshot never holds the loop


async def describe(system: System, path: Address, depth: int) -> dict[str, Any] | None:
    """The node at `path` with its descendants down to `depth` levels; None if there is none."""
    member = system.members.get(path)
    return None if member is None else await _node(system, member, depth, _Budget())


async def totals(system: System) -> dict[str, Any]:
    """Counts over all actors of this node."""
    states: Counter[str] = Counter()
    classes: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    depth = dropped = 0
    hour_ago = trio.current_time() - 3600
    budget = _Budget()
    for member in list(system.members.values()):
        await budget.step()
        kinds[_kind(member)] += 1
        if isinstance(member, Cell):
            states[member.state.value] += 1
            classes[_class(member)] += 1
            depth += len(member.mailbox.user)
            dropped += member.mailbox.dropped
        else:
            states[State.RUNNING.value] += 1
    return {
        "actors": sum(kinds.values()),
        "by_kind": dict(kinds),
        "by_class": dict(classes),
        "by_state": dict(states),
        "restarts_1h": sum(at > hour_ago for at in system.restarts),
        "mailbox_depth": depth,
        "dropped": dropped,
    }


class _Budget:
    def __init__(self) -> None:
        self.left = SLICE

    async def step(self) -> None:
        self.left -= 1
        if self.left <= 0:
            self.left = SLICE
            await trio.lowlevel.checkpoint()


async def _node(system: System, member: Member, depth: int, budget: _Budget) -> dict[str, Any]:
    await budget.step()
    children = _children(system, member)
    now = trio.current_time()
    node: dict[str, Any] = {
        "path": member.address,
        "name": member.address.name,
        "kind": _kind(member),
        "class": _class(member),
    }
    if isinstance(member, Cell):
        node |= _cell(system, member, now)
    elif isinstance(member, Inbox):
        node |= {
            "state": State.RUNNING.value,
            "incarnation": 1,
            "started_at": system.clock.at(member.born_at),
            "uptime_ms": int((now - member.born_at) * 1000),
            "counters": {"received": member.received},
        }
    node["children_total"] = len(children)
    if depth > 0:
        node["children"] = [await _node(system, child, depth - 1, budget) for child in children[:SHOWN]]
        if len(children) > SHOWN:
            node["more"] = True
    return node


def _cell(system: System, cell: Cell, now: float) -> dict[str, Any]:
    actor, box = cell.actor, cell.mailbox
    node: dict[str, Any] = {
        "state": cell.state.value,
        "restart": cell.spec.restart.value,
        "shutdown": "infinity" if isinstance(actor, Supervisor) else cell.spec.shutdown,
        "incarnation": cell.incarnation,
        "restarts_total": cell.past.restarts,
        "restarts_window": len(cell.past.times),
        "last_crash": _crash(cell.past.last_crash),
        "last_error": _crash(cell.past.last_crash),
        "started_at": system.clock.at(cell.born_at),
        "uptime_ms": int((now - cell.born_at) * 1000),
        "mailbox": {
            "depth": len(box.user),
            "control": len(box.control),
            "capacity": box.capacity,
            "high_water": box.high_water,
            "dropped": box.dropped,
            "expired": box.expired,
        },
        "in_hand": None
        if cell.in_hand is None
        else {"type": type(cell.in_hand.message).TYPE, "age_ms": int((now - cell.hand_since) * 1000), "trace_id": None},
        "counters": {"received": box.received, "handled": cell.handled, "failed": cell.failed},
    }
    if isinstance(actor, Supervisor):
        node["strategy"] = actor.strategy.value
    if cell.spec.dormant:
        node["dormant"] = not cell.running
    if actor is not None and (snapshot := _snapshot(actor)):
        node["snapshot"] = snapshot
    return node


def _snapshot(actor: Actor) -> dict[str, Any]:
    try:
        return actor.snapshot()
    except Exception:  # an operator's look must not fail for one actor; §7: omitted
        log.exception("actor.snapshot_failed", actor_class=type(actor).__name__)
        return {}


def _crash(crash: Crash | None) -> dict[str, Any] | None:
    if crash is None:
        return None
    return {
        "at": crash.at,
        "type": crash.type,
        "message": crash.message,
        "fingerprint": crash.fingerprint,
        "incarnation": crash.incarnation,
    }


def _children(system: System, member: Member) -> list[Member]:
    if not isinstance(member, Cell):
        return []
    return [*member.children, *system.guests.get(member.address, {}).values()]


def _kind(member: Member) -> str:
    if isinstance(member, Cell):
        return "supervisor" if member.actor is not None and member.actor.supervises else member.spec.kind
    return "io"


def _class(member: Member) -> str:
    if isinstance(member, Cell):
        if member.actor is not None:
            return type(member.actor).__name__
        return getattr(member.spec.start, "__name__", "Actor")
    return member.kind if isinstance(member, Inbox) else type(member).__name__
