"""An actor tree of any size for the stand-in gateway: a root, eight branches, workers, some of them in trouble, and
below `/sessions` as many virtual actors as asked for.

Shapes: edge-http.md §26 (E-ActorNode, flat, totals).
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]
BRANCHES = ("system", "infra", "engine", "agents", "sessions", "cron", "channels", "edge")
AT_MOST = 200  # children of one supervisor in an answer
TROUBLE = {7: "backoff", 11: "quarantined", 13: "suspended", 17: "stopped"}  # number of a worker → its state
CROWDED, SLOW, TEMPORARY, ZOMBIE, FOREIGN = 3, 5, 6, 9, 19  # numbers of workers with another peculiarity
FAULTS = (
    ("TypeError", "unsupported operand: 'int' and 'str'", "ab12ab12ab12ab12"),
    ("KeyError", "'reply_to'", "cd34cd34cd34cd34"),
    ("TimeoutError", "the upstream said nothing for 30 s", "ef56ef56ef56ef56"),
)


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(slots=True)
class Mind:
    """One actor. `n` is its number among its siblings, -1 for a supervisor."""

    path: str
    cls: str
    n: int = -1
    virtual: bool = False
    state: str = "running"
    incarnation: int = 1
    restarts: int = 0
    window: int = 0
    started: float = 0.0
    crash: Json | None = None
    by: str | None = None


class House:
    def __init__(self, actors: int, virtual: int) -> None:
        self.born = time.time()
        self.minds: dict[str, Mind] = {}
        self.below: dict[str, list[str]] = {}  # supervisor → paths of its children
        self.ended: dict[str, int] = {}  # path of an actor that is no more → its last incarnation
        self.states: Counter[str] = Counter()
        self._add(Mind("/", "RootSupervisor"))
        per = max(1, (actors - 1 - len(BRANCHES)) // len(BRANCHES))
        for branch in BRANCHES:
            self._add(Mind(f"/{branch}", f"{branch.title()}Supervisor"))
            if branch == "sessions" and virtual:
                for n in range(virtual):
                    self._add(Mind(f"/sessions/agent:default:ws:direct:{n:05d}", "SessionActor", n, virtual=True))
            else:
                for n in range(per):
                    self._add(self._worker(branch, n))

    def _worker(self, branch: str, n: int) -> Mind:
        foreign = branch == "agents" and n == FOREIGN
        mind = Mind(f"/{branch}/~ab12cd34" if foreign else f"/{branch}/{branch[:-1]}-{n:03d}", "Worker", n)
        mind.state = TROUBLE.get(n, "running")
        if mind.state in ("backoff", "quarantined"):
            mind.restarts, mind.window = 3, 3 if mind.state == "backoff" else 0
            kind, message, fingerprint = FAULTS[0]
            at = iso(self.born - 40 - n)
            mind.crash = {"at": at, "type": kind, "message": message, "fingerprint": fingerprint, "incarnation": 3}
        return mind

    def _add(self, mind: Mind) -> None:
        mind.started = self.born - 81_200 + 97 * max(0, mind.n % 800)
        self.minds[mind.path] = mind
        self.states[mind.state] += 1
        if mind.path != "/":
            self.below.setdefault(mind.path.rpartition("/")[0] or "/", []).append(mind.path)

    def turn(self, mind: Mind, state: str) -> None:
        self.states[mind.state] -= 1
        self.states[state] += 1
        mind.state = state

    def end(self, path: str) -> None:
        mind = self.minds.pop(path)
        self.states[mind.state] -= 1
        self.below[path.rpartition("/")[0] or "/"].remove(path)
        self.ended[path] = mind.incarnation

    def tree(self, path: str, depth: int, live: bool = False) -> Json:
        root = self.node(self.minds[path], depth, live)
        return {"root": root, "generated_at": iso(time.time()), "node_id": "n1", "totals": self.totals()}

    def totals(self) -> Json:
        classes = Counter(mind.cls for mind in self.minds.values())
        return {
            "actors": len(self.minds),
            "by_state": {state: n for state, n in self.states.items() if n},
            "by_class": dict(classes),
            "by_kind": {"io": len(self.minds) - len(BRANCHES) - 1, "supervisor": len(BRANCHES) + 1},
            **{"restarts_1h": 24, "mailbox_depth": 812, "dropped": 0},
            **{"handled": int(4000 + (time.time() - self.born) * 212), "loop_lag_ms": 1.5, "zombie_threads": 1},
        }

    def flat(self, asked: Json) -> Json:
        """At and below `path`, of those whose path holds `text`. Sorting is left to the real one."""
        limit, offset = min(200, int(asked.get("limit", 50))), int(asked.get("offset", 0))
        found = [m for m in self._below(asked.get("path", "/")) if self._fits(m, asked)]
        shown = [self.node(m, 0, False) for m in found[offset : offset + limit]]
        return {"actors": shown, "total": len(found), "limit": limit, "offset": offset}

    def _below(self, path: str) -> Iterable[Mind]:
        prefix = path if path == "/" else f"{path}/"
        return (m for m in self.minds.values() if m.path == path or m.path.startswith(prefix))

    def _fits(self, mind: Mind, asked: Json) -> bool:
        wanted = {"state": mind.state, "class": mind.cls}
        return (
            mind.restarts >= int(asked.get("min_restarts", 0))
            and all(asked.get(name) in (None, value) for name, value in wanted.items())
            and asked.get("text", "") in mind.path
        )

    def node(self, mind: Mind, depth: int, live: bool) -> Json:
        age = time.time() - self.born
        node = self._moving(mind, age)
        if not live:
            node |= self._lasting(mind, age)
        paths = self.below.get(mind.path, [])
        if depth > 0 and mind.path in self.below:
            node["children"] = [self.node(self.minds[path], depth - 1, live) for path in paths[:AT_MOST]]
            node["more"] = len(paths) > AT_MOST
        return node

    def _moving(self, mind: Mind, age: float) -> Json:
        n = mind.n
        waiting = int(abs(math.sin(age / 5 + n)) * 12) if n % 4 == 1 else 0
        hand = None
        if not mind.virtual and n in (CROWDED, SLOW):
            waiting = 96 if n == CROWDED else waiting
            age_ms = 7400 + int(age * 1000) if n == SLOW else 32
            hand = {"type": "session.enqueue", "age_ms": age_ms, "trace_id": "0193a5b0-2222-7000-8000-00000000000a"}
        return {
            "path": mind.path, "state": mind.state, "incarnation": mind.incarnation, "restarts_window": mind.window,
            "mailbox": {"depth": waiting, "control": 0, "capacity": 100, "high_water": 97 if waiting > 90 else 14,
                        "dropped": 0, "expired": 0},
            "in_hand": hand,
            "counters": {"received": 91, "handled": 91 + int(age * (1 + n % 7)), "failed": 0, "replies": 12,
                         "asks_out": 0},
            "latency_us": {"wait": {"p95": 90 + n % 97}, "handle": {"p95": 1900 + 31 * (n % 89)}},
        }  # fmt: skip

    def _lasting(self, mind: Mind, age: float) -> Json:
        supervisor = mind.n < 0
        zombie = not mind.virtual and mind.n == ZOMBIE
        still: Json = {
            "name": mind.path.rpartition("/")[2],
            "kind": "supervisor" if supervisor else "blocking" if zombie else "io",
            "class": mind.cls, "node_id": "n1", "started_at": iso(mind.started), "uptime_ms": int(age * 1000),
            "restart": "temporary" if mind.n == TEMPORARY and not mind.virtual else "permanent",
            "shutdown": "infinity" if supervisor else 5, "restarts_total": mind.restarts, "last_error": mind.crash,
            "last_crash": mind.crash, "children_total": len(self.below.get(mind.path, [])),
            "bytes": 4096 + 100 * mind.n,
            "latency_us": {"wait": {"p50": 20, "p95": 90 + mind.n % 97, "p99": 400, "max": 4000},
                           "handle": {"p50": 200, "p95": 1900 + 31 * (mind.n % 89), "p99": 9000, "max": 120_000}},
            "snapshot": {"turns": mind.n, "cutoff": iso(mind.started)},
        }  # fmt: skip
        if supervisor:
            still["strategy"] = "dynamic" if mind.path == "/sessions" else "one_for_one"
        if mind.virtual:
            still["dormant"] = True
        if not supervisor:
            still["restart_limit"] = {"restarts": 5, "within": 60}
        if zombie:
            still["blocking"] = {"thread": "goclaw-3", "zombie": True, "current_call_ms": 44_000}
        if mind.path.rpartition("/")[2].startswith("~"):
            for name in ("snapshot", "last_error", "last_crash"):
                del still[name]
            still["redacted"] = True
        return still
