"""An actor tree of any size for the stand-in gateway: a root, eight branches, workers, some of them in trouble.

Shape: edge-http.md §26 (E-ActorNode).
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

Json = dict[str, Any]
BRANCHES = ("system", "infra", "engine", "agents", "sessions", "cron", "channels", "edge")
AT_MOST = 200  # children of one supervisor in an answer
TROUBLE = {7: "backoff", 11: "quarantined", 13: "suspended", 17: "stopped"}  # number of a worker → its state
CROWDED, SLOW = 3, 5  # workers with a full mailbox, with a message long in hand
CRASH = {
    "type": "TypeError",
    "message": "unsupported operand: 'int' and 'str'",
    "fingerprint": "ab12",
    "incarnation": 3,
}


def answer(actors: int, depth: int, age: float, live: bool) -> Json:
    """The body of GET /v1/actors after `age` seconds; counters move with it. `live` leaves out what rarely changes."""
    per = max(1, (actors - 1 - len(BRANCHES)) // len(BRANCHES))
    branches = []
    for branch in BRANCHES:
        node = supervisor(f"/{branch}", f"{branch.title()}Supervisor", per, age, live)
        if depth > 2:
            shown = range(min(per, AT_MOST))
            node["children"] = [worker(f"/{branch}/{branch[:-1]}-{n:03d}", n, age, live) for n in shown]
            node["more"] = per > AT_MOST
        branches.append(node)
    root = {**supervisor("/", "RootSupervisor", len(BRANCHES), age, live), "children": branches}
    troubled = dict.fromkeys(TROUBLE.values(), len(BRANCHES))
    by_state = {"running": actors - sum(troubled.values()), **troubled}
    totals = {"actors": actors, "by_state": by_state, "restarts_1h": 24, "mailbox_depth": 812, "dropped": 0}
    return {"root": root, "generated_at": datetime.now(UTC).isoformat(), "node_id": "n1", "totals": totals}


def supervisor(path: str, cls: str, children: int, age: float, live: bool) -> Json:
    node = moving(path, "running", 0, age)
    still = {"kind": "supervisor", "class": cls, "strategy": "one_for_one", "restarts_total": 0, "last_error": None}
    return node if live else {**node, **still, **lasting(path, age + 81_200), "children_total": children}


def worker(path: str, n: int, age: float, live: bool) -> Json:
    waiting = 96 if n == CROWDED else int(abs(math.sin(age / 5 + n)) * 12) if n % 4 == 1 else 0
    node = moving(path, TROUBLE.get(n, "running"), waiting, age)
    if n in (CROWDED, SLOW):
        node["in_hand"] = {"type": "session.enqueue", "age_ms": 7400 if n == SLOW else 32, "trace_id": "t"}
    crashed = TROUBLE.get(n) in ("backoff", "quarantined")
    if TROUBLE.get(n) == "backoff":
        node["restarts_window"] = 3
    error = {**CRASH, "at": (datetime.now(UTC) - timedelta(seconds=40 + n)).isoformat()} if crashed else None
    still = {"kind": "io", "class": "Worker", "restarts_total": 3 * crashed, "last_error": error}
    return node if live else {**node, **still, **lasting(path, age + 81_200 - 97 * n), "children_total": 0}


def moving(path: str, state: str, waiting: int, age: float) -> Json:
    mailbox = {"depth": waiting, "control": 0, "capacity": 100, "high_water": 97, "dropped": 0, "expired": 0}
    counters = {"received": 91, "handled": 91 + int(age), "failed": 0, "replies": 12, "asks_out": 0}
    return {
        **{"path": path, "state": state, "incarnation": 1, "restarts_window": 0},
        **{"mailbox": mailbox, "in_hand": None, "counters": counters},
    }


def lasting(path: str, uptime: float) -> Json:
    return {
        **{"name": path.rsplit("/", 1)[1], "node_id": "n1", "restart": "permanent"},
        "started_at": (datetime.now(UTC) - timedelta(seconds=uptime)).isoformat(),
        "latency_us": {"wait": {"p50": 20, "p95": 90}, "handle": {"p50": 200, "p95": 1900}},
    }
