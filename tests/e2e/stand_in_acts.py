"""What happens to the actors of the stand-in gateway: crashes, actions and their events, the logs, the figures.

Contract: edge-http.md §26 and §26.1, edge-websocket.md §8.4 (actor.*), dashboard.md §20, supervision.md §16.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import trio
from quart import Response, request
from quart_trio import QuartTrio
from stand_in_tree import BRANCHES, FAULTS, SLOW, TEMPORARY, House, Json, Mind, iso

PAUSE = 0.15  # seconds between a crash or an order and what follows
REASONS = ("no_actor", "mailbox_full", "late_reply", "expired")


class Refusal(Exception):
    def __init__(self, status: int, code: str, text: str, **details: Any) -> None:
        self.status, self.body = status, {"error": text, "code": code, "details": details, "request_id": "r1"}


class Acts:
    def __init__(self, house: House, tell: Callable[[str, Json], None], nursery: trio.Nursery) -> None:
        self.house, self.tell, self.nursery = house, tell, nursery
        self.rows: list[Json] = []  # the crash log, oldest first
        self.orders: list[Json] = []  # what was asked for, for tests
        self._seed()

    def _seed(self) -> None:
        workers = [m for m in self.house.minds.values() if m.n >= 0 and not m.virtual][:24]
        for i in range(96):
            mind, fault = workers[(i * 7) % len(workers)], FAULTS[0 if i % 4 else 1 if i % 8 else 2]
            at = time.time() - 3500 + i * 36 - (i % 5) * 7
            self._log(mind, "crashed" if i % 2 == 0 else "restarted", fault if i % 2 == 0 else None, at)

    def _log(self, mind: Mind, event: str, fault: tuple[str, str, str] | None = None, at: float | None = None) -> None:
        kind, message, fingerprint = fault or (None, None, None)
        frames = f'File "goclaw/actors/worker.py", line 41, in handle\n    return total + ask.text\n{kind}: {message}'
        self.rows.append({
            "id": f"c{len(self.rows)}", "at": iso(at or time.time()), "node_id": "n1", "path": mind.path, "kind": "io",
            "class": mind.cls, "incarnation": mind.incarnation, "event": event, "reason": None, "error_type": kind,
            "error_message": message, "fingerprint": fingerprint, "traceback": frames if fault else None,
            "in_hand_type": "session.enqueue" if fault else None, "mailbox_depth": 2, "uptime_ms": 81_000,
            "in_hand_trace_id": "0193a5b0-2222-7000-8000-00000000000a" if fault else None, "by": mind.by,
            "restarts_in_window": mind.window, "backoff_ms": 200 if fault else None,
            "supervisor": mind.path.rpartition("/")[0] or "/",
        })  # fmt: skip

    def say(self, event: str, mind: Mind, **more: Any) -> None:
        body = {"path": mind.path, "kind": "io", "class": mind.cls, "incarnation": mind.incarnation, **more}
        self.tell(f"actor.{event}", body)

    def crash(self, path: str, then: str = "restarted", backoff_ms: int = int(PAUSE * 1000)) -> None:
        """`then` is restarted, quarantined, or nothing at all."""
        mind = self.house.minds[path]
        fault = FAULTS[mind.incarnation % 3]
        error = dict(zip(("type", "message", "fingerprint"), fault, strict=True))
        mind.window += 1
        mind.crash = {**error, "at": iso(time.time()), "incarnation": mind.incarnation}
        self.house.turn(mind, "backoff")
        self._log(mind, "crashed", fault)
        self.say("crashed", mind, error=error, restartsWindow=mind.window, backoffMs=backoff_ms)
        if then == "restarted":
            self.nursery.start_soon(self.begin, mind, PAUSE)
        if then == "quarantined":
            self.house.turn(mind, "quarantined")
            self._log(mind, "quarantined", fault)
            self.say("quarantined", mind, error=error, reason="limit", backoffMs=60_000)

    async def begin(self, mind: Mind, after: float, by: str | None = None) -> None:
        await trio.sleep(after)
        mind.incarnation += 1
        mind.restarts += 1
        mind.started, mind.by = time.time(), by
        self.house.turn(mind, "running")
        self._log(mind, "restarted")
        self.say("restarted", mind, restartsWindow=mind.window, **({"by": by} if by else {}))

    async def trouble(self, every: float) -> None:
        """One virtual actor after another crashes."""
        crowd = [m.path for m in self.house.minds.values() if m.virtual]
        turn = 0
        while crowd:
            await trio.sleep(every)
            self.crash(crowd[(turn * 37 + 5) % len(crowd)])
            turn += 1

    def act(self, path: str, verb: str, asked: Json) -> tuple[int, Json]:
        mind = self.mind(path)
        self.orders.append({"path": path, "verb": verb, **asked})
        if verb == "probe":
            ok = mind.n != SLOW
            return 200, {"ok": ok, "wait_ms": 0.4 if ok else None, "handle_ms": 1.2 if ok else None}
        if path == "/" or path[1:] in BRANCHES:
            raise Refusal(403, "FORBIDDEN", "This actor cannot be acted upon.")
        if verb == "restart":
            return self._restart(mind, asked)
        self.house.turn(mind, {"stop": "stopped", "suspend": "suspended", "resume": "running"}[verb])
        if verb == "stop":
            self.say("stopped", mind, by="lan")
        return 202, {"path": path, "action": verb, **({"virtual": True} if mind.virtual and verb == "stop" else {})}

    def _restart(self, mind: Mind, asked: Json) -> tuple[int, Json]:
        if mind.n == TEMPORARY and not mind.virtual:
            raise Refusal(409, "FAILED_PRECONDITION", "A temporary actor is never restarted.")
        if mind.n != SLOW or asked.get("mode") == "kill":  # the slow one is too deep in its work to hear
            mind.window = 0
            self.nursery.start_soon(self.begin, mind, PAUSE, "lan")
        return 202, {"path": mind.path, "action": "restart", "incarnation": mind.incarnation}

    def mind(self, path: str) -> Mind:
        if path in self.house.ended:
            raise Refusal(410, "GONE", "This actor has ended.", last_incarnation=self.house.ended[path])
        if path not in self.house.minds:
            raise Refusal(404, "NOT_FOUND", "There is no such actor.")
        return self.house.minds[path]

    def crashes(self, asked: Json) -> Json:
        wanted = {name: asked[name] for name in ("path", "event", "fingerprint") if name in asked}
        found = [r for r in reversed(self.rows) if all(r[name] == value for name, value in wanted.items())]
        found = [r for r in found if r["at"] >= asked.get("from", "")]
        if asked.get("group") == "true":
            return {"groups": list(self._groups([r for r in found if r["fingerprint"]]))}
        offset = int(asked.get("offset", 0))
        return {"crashes": found[offset : offset + int(asked.get("limit", 50))]}

    def _groups(self, rows: list[Json]) -> list[Json]:
        causes = Counter(r["fingerprint"] for r in rows)
        groups = []
        for cause, n in causes.most_common():
            same = [r for r in rows if r["fingerprint"] == cause]
            groups.append({
                **{name: same[0][name] for name in ("fingerprint", "class", "error_type", "error_message")},
                "count": n, "paths": len({r["path"] for r in same}),
                "first_at": same[-1]["at"], "last_at": same[0]["at"],
            })  # fmt: skip
        return groups

    def letters(self, asked: Json) -> Json:
        found = [
            {"seq": n, "at": iso(time.time() - n * 11), "to": f"/sessions/agent:default:ws:direct:{n:05d}",
             "from": "/edge/edg-001", "type": ("session.enqueue", "run.ended")[n % 2], "size": 420,
             "reason": REASONS[n % 7 % 4], "trace_id": "0193a5b0-2222-7000-8000-00000000000a"}
            for n in range(130)
        ]  # fmt: skip
        counters = Counter((letter["reason"], letter["type"]) for letter in found)
        shown = [letter for letter in found if asked.get("reason") in (None, letter["reason"])]
        offset, limit = int(asked.get("offset", 0)), int(asked.get("limit", 50))
        counts = [{"reason": reason, "type": type, "count": n} for (reason, type), n in counters.items()]
        page = {"total": len(shown), "limit": limit, "offset": offset}
        return {"deadletters": shown[offset : offset + limit], "counters": counts, **page}


def routes(app: QuartTrio, acts: Acts, allowed: Callable[[], bool]) -> None:
    """The HTTP side of it, behind the token."""

    def answer(work: Callable[[], Json | tuple[int, Json]]) -> Response:
        try:
            if not allowed():
                raise Refusal(401, "UNAUTHORIZED", "no")
            found = work()
        except Refusal as refusal:
            found = refusal.status, refusal.body
        status, body = found if isinstance(found, tuple) else (200, found)
        return Response(json.dumps(body), status, content_type="application/json")

    def tree(asked: Json) -> Json:
        acts.mind(asked["path"])
        return acts.house.tree(asked["path"], int(asked.get("depth", 3)), asked.get("fields") == "live")

    @app.get("/v1/actors")
    async def actors() -> Response:
        asked = dict(request.args)
        return answer(lambda: acts.house.flat(asked) if asked.get("format") == "flat" else tree(asked))

    @app.get("/v1/actors/deadletters")
    async def deadletters() -> Response:
        return answer(lambda: acts.letters(dict(request.args)))

    @app.get("/v1/actor-crashes")
    async def crashes() -> Response:
        return answer(lambda: acts.crashes(dict(request.args)))

    @app.get("/v1/health/components")
    async def components() -> Response:
        locked = [m.path for m in acts.house.minds.values() if m.state == "quarantined"]
        reason = f"{locked[0]} is quarantined" if locked else ""
        row = {"name": "actors", "state": "degraded" if locked else "ok", "reason": reason}
        return answer(lambda: {"components": [row]})

    @app.post("/v1/actors/<path:path>/trace")
    async def trace(path: str) -> Response:
        asked = await request.get_json()
        return Response(envelopes(asked), content_type="text/event-stream; charset=utf-8")

    @app.post("/v1/actors/<path:path>/<verb>")
    async def act(path: str, verb: str) -> Response:
        asked = await request.get_json()
        return answer(lambda: acts.act(f"/{path}".rstrip("/") or "/", verb, asked))


async def envelopes(asked: Json) -> AsyncIterator[bytes]:
    for n in range(min(5, asked["count"])):
        body = {"body": {"text": "hello"}} if asked["include_body"] else {}
        row = {"at": iso(time.time()), "type": "session.enqueue", "from": "/edge/edg-001"}
        row |= {"wait_ms": 0.02, "handle_ms": 1.9, "outcome": "handled", **body}
        yield f"event: envelope\nid: {n}\ndata: {json.dumps(row)}\n\n".encode()
        await trio.sleep(PAUSE)
