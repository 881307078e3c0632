"""The living tree as data, for operators. Contract: supervision.md §15, edge-http.md §26."""

from __future__ import annotations

import heapq
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from time import perf_counter
from typing import Any

import msgspec
import structlog
import trio
from msgspec import Struct

from goclaw.runtime.actor import Actor
from goclaw.runtime.address import Address
from goclaw.runtime.blocking import BlockingActor
from goclaw.runtime.cell import Cell
from goclaw.runtime.child import State
from goclaw.runtime.crash import Crash
from goclaw.runtime.inbox import Inbox
from goclaw.runtime.latency import idle_figures
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import Member, System

log = structlog.get_logger()

SHOWN = 200  # children listed per node; the rest is a count
SLICE = 0.002  # seconds between two checkpoints, so a snapshot never holds the loop
SNAPSHOT = 4096  # bytes an actor may say about itself
WAITING = 200  # bytes a waiting message is estimated at
UP = (State.RUNNING, State.SUSPENDED)
IDLE = idle_figures()


class Filter(Struct, frozen=True, kw_only=True):
    """Which nodes are wanted; everything that is not given fits."""

    kind: str | None = None
    of_class: str | None = None
    state: str | None = None
    min_restarts: int = 0
    text: str | None = None  # a part of the path

    @property
    def all(self) -> bool:
        return self == EVERYBODY

    def fits(self, member: Member) -> bool:
        return (
            (self.kind is None or _kind(member) == self.kind)
            and (self.of_class is None or _class(member) == self.of_class)
            and (self.state is None or _state(member) == self.state)
            and (self.text is None or self.text in member.address)
            and (not self.min_restarts or (isinstance(member, Cell) and member.past.restarts >= self.min_restarts))
        )


EVERYBODY = Filter()

SORTS: dict[str, Callable[[Cell, float], float]] = {
    "mailbox": lambda cell, now: len(cell.mailbox.user),
    "wait": lambda cell, now: cell.latency.figures(now)["wait"]["p95"] if cell.latency else 0,
    "handle": lambda cell, now: cell.latency.figures(now)["handle"]["p95"] if cell.latency else 0,
    "in_hand": lambda cell, now: now - cell.hand_since if cell.in_hand is not None else 0,
    "restarts": lambda cell, now: cell.past.restarts,
}


async def describe(
    system: System, path: Address, depth: int, wanted: Filter = EVERYBODY, *, live: bool = False
) -> dict[str, Any] | None:
    """The node at `path` with its descendants down to `depth` levels; None if there is none.

    With a filter, nodes that fit and their ancestors. `live` leaves out what rarely changes.
    """
    member = system.members.get(path)
    if member is None:
        return None
    view = View(system, wanted, live)
    return await view.node(member, depth) or view.facts(member)


async def flat(
    system: System,
    path: Address,
    wanted: Filter,
    *,
    sort: str | None = None,
    live: bool = False,
    limit: int = 50,
    offset: int = 0,
) -> tuple[list[dict[str, Any]], int]:
    """A page of the nodes at and below `path` that fit, and how many there are.

    In the order of their birth, or those first that lead in `sort`, one of SORTS; KeyError for another.
    """
    view = View(system, wanted, live)
    found = [member async for member in view.below(path)]
    total = len(found)
    if sort is not None:
        now, figure = system.load.now(), SORTS[sort]
        ranked = []
        for member in found:
            await view.breathe()
            if isinstance(member, Cell) and (value := figure(member, now)) > 0:
                ranked.append((value, member.address, member))
        leading = heapq.nlargest(offset + limit, ranked, lambda entry: entry[:2])
        found, total = [member for *_, member in leading], len(ranked)
    page = []
    for member in found[offset : offset + limit]:
        await view.breathe()
        page.append(view.facts(member))
    return page, total


async def totals(system: System) -> dict[str, Any]:
    """Counts over all actors of this node."""
    states: Counter[str] = Counter()
    classes: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    dropped = handled = failed = 0
    hour_ago = trio.current_time() - 3600
    view = View(system, EVERYBODY, live=True)
    for member in list(system.members.values()):
        await view.breathe()
        kinds[_kind(member)] += 1
        states[_state(member)] += 1
        if isinstance(member, Cell):
            classes[_class(member)] += 1
            dropped += member.mailbox.dropped
            handled += member.handled
            failed += member.failed
    return {
        "actors": sum(kinds.values()),
        "by_kind": dict(kinds),
        "by_class": dict(classes),
        "by_state": dict(states),
        "restarts_1h": sum(at > hour_ago for at in system.restarts),
        "mailbox_depth": system.load.queued,
        "dropped": dropped,
        "handled": handled,
        "failed": failed,
        "dead_letters": system.dead_letters.total,
        "zombie_threads": system.vehicles.zombies,
        "loop_lag_ms": round(system.lag * 1000, 1),
    }


class View:
    """One look at the tree. It gives way to others every two milliseconds."""

    def __init__(self, system: System, wanted: Filter, live: bool) -> None:
        self.system = system
        self.wanted = wanted
        self.live = live
        self._began = perf_counter()

    async def breathe(self) -> None:
        if perf_counter() - self._began > SLICE:
            await trio.lowlevel.checkpoint()
            self._began = perf_counter()

    async def below(self, path: Address) -> AsyncIterator[Member]:
        prefix = path if path == "/" else f"{path}/"
        for member in list(self.system.members.values()):
            await self.breathe()
            if (member.address == path or member.address.startswith(prefix)) and self.wanted.fits(member):
                yield member

    async def node(self, member: Member, depth: int) -> dict[str, Any] | None:
        """A node with its descendants; None if neither it nor any of them is wanted."""
        await self.breathe()
        children = self.children(member)
        node = self.facts(member)
        if depth == 0:
            return node if self.wanted.fits(member) else None
        shown: list[dict[str, Any]] = []
        for child in children:
            if len(shown) == SHOWN:
                node["more"] = True
                break
            if (found := await self.node(child, depth - 1)) is not None:
                shown.append(found)
        if not shown and not self.wanted.fits(member):
            return None
        if len(children) > SHOWN:
            node["children_by_state"] = dict(Counter(map(_state, children)))
            node["children_by_class"] = dict(Counter(map(_class, children)))
        node["children"] = shown
        return node

    def children(self, member: Member) -> list[Member]:
        if not isinstance(member, Cell):
            return []
        return [*member.children, *self.system.guests.get(member.address, {}).values()]

    def facts(self, member: Member) -> dict[str, Any]:
        """All about a member except its children."""
        node: dict[str, Any] = {"path": str(member.address), "state": _state(member)}
        if isinstance(member, Cell):
            node |= self._moving(member)
        elif isinstance(member, Inbox):
            node |= {"incarnation": 1, "counters": {"received": member.received}}
        if self.live:
            return node
        node |= {"name": member.address.name, "kind": _kind(member), "class": _class(member)}
        if isinstance(member, Cell):
            node |= self._lasting(member)
        elif isinstance(member, Inbox):
            node |= self._age(member.born_at)
        node["children_total"] = len(self.children(member))
        return node

    def _moving(self, cell: Cell) -> dict[str, Any]:
        """What changes from look to look."""
        box, now = cell.mailbox, self.system.load.now()
        node: dict[str, Any] = {
            "incarnation": cell.incarnation,
            "restarts_window": cell.restarts_window,
            "mailbox": {
                "depth": len(box.user),
                "control": len(box.control),
                "capacity": box.capacity,
                "high_water": box.high_water,
                "dropped": box.dropped,
                "expired": box.expired,
            },
            "in_hand": None,
            "counters": {
                "received": box.received,
                "handled": cell.handled,
                "failed": cell.failed,
                "replies": cell.replies,
                "asks_out": cell.asked,
            },
        }
        if cell.in_hand is not None:
            age = int((now - cell.hand_since) * 1000)
            node["in_hand"] = {"type": type(cell.in_hand.message).TYPE, "age_ms": age, "trace_id": None}
        latency = cell.latency.figures(now) if cell.latency is not None else IDLE
        if self.live:
            latency = {name: {"p95": figures["p95"]} for name, figures in latency.items()}
        node["latency_us"] = latency
        if cell.past.due is not None and cell.state in (State.BACKOFF, State.QUARANTINED):
            node["restart_in_ms"] = max(0, int((cell.past.due.at - trio.current_time()) * 1000))
        return node

    def _lasting(self, cell: Cell) -> dict[str, Any]:
        actor, past = cell.actor, cell.past
        node: dict[str, Any] = {
            "restart": cell.spec.restart.value,
            "shutdown": "infinity" if isinstance(actor, Supervisor) else f"{cell.spec.shutdown:g}",
            "restarts_total": past.restarts,
            "last_crash": _crash(past.last_crash),
            "last_error": _crash(past.last_crash),
            **self._age(cell.born_at),
        }
        node["mailbox_policy"] = cell.mailbox.overflow.value
        if cell.parent is not None:
            limit = cell.parent.family.limit_of(cell)
            node["restart_limit"] = {"restarts": limit.restarts, "within": limit.within}
        if cell.spec.critical:
            node["critical"] = True
        if isinstance(actor, Supervisor):
            node["strategy"] = actor.strategy.value
        if isinstance(actor, BlockingActor):
            node["blocking"] = actor.vehicle(self.system.load.now() - cell.hand_since if cell.in_hand else None)
        if cell.spec.dormant:
            node["dormant"] = not cell.running
        said = b""
        if actor is not None and cell.state in UP and type(actor).snapshot is not Actor.snapshot:
            snapshot, said = _snapshot(actor)
            if snapshot:
                node["snapshot"] = snapshot
        own = sys.getsizeof(cell) + sys.getsizeof(cell.mailbox) + sys.getsizeof(cell.address)
        node["bytes"] = own + WAITING * len(cell.mailbox.user) + len(said)
        return node

    def _age(self, born_at: float) -> dict[str, Any]:
        uptime = int((trio.current_time() - born_at) * 1000)
        return {"started_at": self.system.clock.at(born_at), "uptime_ms": uptime}


def _snapshot(actor: Actor) -> tuple[dict[str, Any], bytes]:
    """What an actor says about itself, and how that is written; nothing if it is too much or fails."""
    try:
        snapshot = actor.snapshot()
        said = msgspec.json.encode(snapshot)
    except Exception:  # an operator's look must not fail for one actor; §7: omitted
        log.exception("actor.snapshot_failed", actor_class=type(actor).__name__)
        return {}, b""
    return (snapshot, said) if len(said) <= SNAPSHOT else ({}, b"")


def _crash(crash: Crash | None) -> dict[str, Any] | None:
    if crash is None:
        return None
    return {
        "at": crash.at,
        "type": crash.type,
        "message": crash.message,
        "fingerprint": crash.fingerprint,
        "incarnation": crash.incarnation,
        "traceback": crash.traceback,
    }


def _state(member: Member) -> str:
    return member.state.value if isinstance(member, Cell) else State.RUNNING.value


def _kind(member: Member) -> str:
    return member.kind if isinstance(member, Cell) else "io"


def _class(member: Member) -> str:
    if isinstance(member, Cell):
        return member.class_name
    return member.kind if isinstance(member, Inbox) else type(member).__name__
