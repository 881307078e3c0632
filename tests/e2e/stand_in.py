"""A gateway with a script instead of agents, for what a real one cannot be asked to show: 2,000 actors, hostile
Markdown, a link that breaks, a run that fails. It speaks the frames and routes the dashboard uses and checks tokens.

    python stand_in.py --port 0 --token secret --actors 2000 --virtual 20000 --crash-every 1

prints one JSON line, {"port": n}, when it listens. What a message says decides the answer: see `StandIn.play`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import Response, request, websocket
from quart_trio import QuartTrio
from stand_in_acts import Acts, Refusal, routes
from stand_in_tree import House

from goclaw.edge.http.ui import UiFiles

Json = dict[str, Any]
VERSION = "0.1.0"
DELTA = 0.01  # seconds between words
HOSTILE = """<img src=x onerror="window.hacked=1"> <script>window.hacked=2</script>
[click](javascript:window.hacked=3) ![beacon](https://tracker.invalid/p.gif) [far](https://far.invalid/x)

<a href="https://far.invalid" onclick="window.hacked=4" style="position:fixed">raw</a>

`<b>code</b>` &lt;script&gt;
"""
RICH = """Three things keep a mailbox honest:

1. It is **bounded**: a full mailbox refuses, it does not grow.
2. Work in hand is *visible*, with its age.
3. A crash is the supervisor's business.

| strategy | restarts | use |
|---|---|---|
| `one_for_one` | the child | independent workers |
| `rest_for_one` | it and later ones | pipelines |

```python
async def on_start(self, ctx: Context) -> None:
    self.waiting.extend(await ctx.db(sessions.unanswered, self.key))
```

> Expected trouble is returned; an exception means “restart me”.
"""


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Run:
    def __init__(self, run_id: str, session: str, message: str) -> None:
        self.id, self.session, self.message = run_id, session, message
        self.events: list[Json] = []
        self.scope = trio.CancelScope()
        self.text = ""
        self.ended = False


class StandIn:
    def __init__(self, token: str, role: str, house: House, nursery: trio.Nursery) -> None:
        self.token, self.role = token, role
        self.house = house
        self.acts = Acts(house, self.tell, nursery)
        self.sockets: set[Socket] = set()
        self.sessions: dict[str, list[Json]] = {}
        self.runs: dict[str, Run] = {}
        self.keys: dict[str, str] = {}  # idempotency key → run id
        self.ids = count(1)
        self.released = trio.Event()  # lets "wait" go on
        self._seed()

    def _seed(self) -> None:
        for n in range(45):
            channel = ("ws:direct", "telegram:direct", "discord:group")[n % 3]
            key = f"agent:{('assistant', 'researcher')[n % 2]}:{channel}:{n:04d}"
            self.sessions[key] = [
                self._message("user", f"Question number {n} about supervision"),
                self._message("assistant", RICH if n == 0 else f"Answer number {n}."),
            ]

    def _message(self, role: str, content: str, run: str = "", **more: Any) -> Json:
        return {
            "id": f"m{next(self.ids)}",
            "role": role,
            "content": content,
            "run_id": run,
            "created_at": now(),
            **more,
        }

    def row(self, key: str) -> Json:
        messages = self.sessions[key]
        first = next((m["content"] for m in messages if m["role"] == "user"), "")
        return {
            "key": key, "label": first[:60], "messageCount": len(messages), "created": messages[0]["created_at"],
            "updated": messages[-1]["created_at"], "channel": key.split(":")[2], "userID": "lan",
            "inputTokens": 410 * len(messages), "outputTokens": 96 * len(messages), "queued": 0,
            "agentName": key.split(":")[1].title(),
            "isRunning": any(r.session == key and not r.ended for r in self.runs.values()),
        }  # fmt: skip

    def tell(self, event: str, payload: Json) -> None:
        for socket in self.sockets:
            if socket.watching:
                socket.event(event, payload)

    def emit(self, run: Run, type: str, payload: Json, only: Socket | None = None) -> None:
        event = {
            "type": type, "runId": run.id, "agentId": run.session.split(":")[1], "sessionKey": run.session,
            "runSeq": len(run.events) + 1, "ts": int(time.time() * 1000), "payload": payload,
        }  # fmt: skip
        run.events.append(event)
        for socket in self.sockets:
            shown = event if only in (None, socket) else {**event, "payload": {"position": 0}}
            socket.event("agent", shown)

    async def answer(self, run: Run, sender: Socket, request_id: str) -> None:
        """Play the script of one run: the order of edge-websocket.md §8.3."""
        history = self.sessions.setdefault(run.session, [])
        history.append(self._message("user", run.message, run.id))
        self.emit(run, "run.queued", {"position": 0, "requestId": request_id}, only=sender)
        with run.scope:
            self.emit(run, "run.started", {"message": run.message[:200], "model": "scripted-1", "provider": "offline"})
            await self.play(run, history)
        if run.scope.cancelled_caught:
            history.append(self._message("assistant", run.text, run.id))
            run.ended = True
            self.emit(run, "run.cancelled", {"reason": "user"})
            self.emit(
                run,
                "run.completed",
                {"content": run.text, "cancelled": True, "finishReason": "cancelled", "echo": True},
            )
        for socket in self.sockets:
            socket.event("session.updated", {"sessionKey": run.session, "userId": "lan"})

    async def play(self, run: Run, history: list[Json]) -> None:
        message = run.message
        if "fail" in message:
            await self.stream(run, "I had begun to ")
            run.ended = True
            self.emit(
                run,
                "run.failed",
                {"error": "The model did not answer in time.", "code": "UNAVAILABLE", "retryable": True},
            )
            return
        if "tool" in message:
            await self.stream(run, "Let me look.")
            calls = [{"id": "c1", "name": "glob", "arguments": {"pattern": "**/*.py"}},
                     {"id": "c2", "name": "read_file", "arguments": {"path": "missing.txt"}}]  # fmt: skip
            history.append(self._message("assistant", "Let me look.", run.id, tool_calls=calls))
            for call, result, bad in zip(
                calls, ("goclaw/app.py\ngoclaw/__main__.py", "no such file: missing.txt"), (False, True), strict=True
            ):
                self.emit(run, "tool.call", {**call, "iteration": 1})
                self.emit(
                    run,
                    "tool.result",
                    {"id": call["id"], "name": call["name"], "is_error": bad, "result": result, "durationMs": 84},
                )
                history.append(self._message("tool", result, run.id, tool_call_id=call["id"], is_error=bad))
            run.text = ""
        if "hostile" in message:
            text = HOSTILE
        elif "rich" in message:
            text = RICH
        elif "long" in message:
            text = " ".join(f"word{n}" for n in range(3000))
        elif "wait" in message:
            await self.stream(run, "one two three ")
            await self.released.wait()
            text = "four five six"
        else:
            text = f"You said: {message}"
        await self.stream(run, text)
        usage = {"inputTokens": 1240, "outputTokens": 86, "totalTokens": 1326}
        history.append(self._message("assistant", run.text, run.id))
        run.ended = True
        self.emit(
            run, "run.completed", {"content": run.text, "usage": usage, "finishReason": "stop", "durationMs": 1830}
        )

    async def stream(self, run: Run, text: str) -> None:
        for word in text.split(" "):
            delta = word + " "
            run.text += delta
            self.emit(run, "chunk", {"content": delta})
            await trio.sleep(DELTA)


class Socket:
    def __init__(self, gateway: StandIn, nursery: trio.Nursery) -> None:
        self.gateway, self.nursery = gateway, nursery
        self.send, self.outbox = trio.open_memory_channel[Json](5000)
        self.seq = 0
        self.entered = False
        self.watching = False  # actor.*
        self.dropped = trio.CancelScope()

    def event(self, name: str, payload: Json) -> None:
        if self.entered:
            self.seq += 1
            self.send.send_nowait({"type": "event", "event": name, "payload": payload, "seq": self.seq})

    async def call(self, frame: Json) -> None:
        params = frame.get("params") or {}
        try:
            method = getattr(self, frame["method"].replace(".", "_"))
            answer: Json = {"ok": True, "payload": method(params, frame["id"])}
        except Refused as refused:
            answer = {"ok": False, "error": refused.args[0]}
        self.send.send_nowait({"type": "res", "id": frame["id"], **answer})

    def connect(self, params: Json, _: str) -> Json:
        token = self.gateway.token
        if token and params["token"] != token:
            reason = "bad_credential" if params["token"] else "unauthenticated"
            raise Refused({"code": "UNAUTHORIZED", "message": "", "details": {"reason": reason}})
        self.entered = True
        user = params.get("user_id") or "system"
        return {
            "protocol": 3,
            "role": self.gateway.role,
            "connection_id": "conn_1",
            "user_id": user,
            "server": {"name": "goclaw", "version": VERSION, "uptimeMs": 1},
        }

    def health(self, params: Json, _: str) -> Json:
        return {"status": "ok"}

    def actors_subscribe(self, params: Json, _: str) -> Json:
        self.watching = params["action"] == "start"
        return {"status": "ok"}

    def actors_tree(self, params: Json, _: str) -> Json:
        found = self._actor(params, lambda: self.gateway.house.tree(params["path"], params["depth"]))
        return {"root": found["root"], "generatedAt": found["generated_at"], "totals": found["totals"]}

    def actors_get(self, params: Json, _: str) -> Json:
        house = self.gateway.house
        return self._actor(params, lambda: house.node(house.minds[params["path"]], params.get("depth", 1), live=False))

    def _actor(self, params: Json, read: Callable[[], Json]) -> Json:
        try:
            self.gateway.acts.mind(params["path"])
        except Refusal as refusal:
            body = refusal.body
            raise Refused({"code": body["code"], "message": body["error"], "details": body["details"]}) from None
        return read()

    def agents_list(self, params: Json, _: str) -> Json:
        names = {"assistant": "Assistant", "researcher": "Researcher"}
        return {
            "agents": [{"id": k, "name": v, "model": "scripted-1", "provider": "offline"} for k, v in names.items()]
        }

    def exec_approval_list(self, params: Json, _: str) -> Json:
        return {"pending": []}

    def estop_status(self, params: Json, _: str) -> Json:
        return {"all": False, "network": False, "tools": [], "domains": [], "by": "", "at": "", "reason": ""}

    def sessions_list(self, params: Json, _: str) -> Json:
        found = [self.gateway.row(key) for key in self.gateway.sessions]
        found = [r for r in found if params.get("channel") in (None, r["channel"])]
        found = [r for r in found if params.get("agentId") in (None, r["key"].split(":")[1])]
        found = [r for r in found if params.get("search", "").lower() in r["label"].lower()]
        found.sort(key=lambda r: r["updated"], reverse=True)
        offset, limit = params.get("offset", 0), params.get("limit", 20)
        return {"sessions": found[offset : offset + limit], "total": len(found), "limit": limit, "offset": offset}

    def chat_history(self, params: Json, _: str) -> Json:
        messages = self.gateway.sessions.get(params["sessionKey"], [])
        if before := params.get("beforeId"):
            messages = messages[: next(i for i, m in enumerate(messages) if m["id"] == before)]
        return {"messages": messages[-params["limit"] :], "hasMore": len(messages) > params["limit"]}

    def chat_session_status(self, params: Json, _: str) -> Json:
        running = [r.id for r in self.gateway.runs.values() if r.session == params["sessionKey"] and not r.ended]
        return {"isRunning": bool(running), "runIds": running, "queued": 0}

    def chat_send(self, params: Json, request_id: str) -> Json:
        known = self.gateway.keys.get(params["idempotencyKey"])
        if known is None:
            known = f"run-{next(self.gateway.ids)}"
            run = Run(known, params["sessionKey"], params["message"])
            self.gateway.runs[known] = run
            self.gateway.keys[params["idempotencyKey"]] = known
            self.nursery.start_soon(self.gateway.answer, run, self, request_id)
        return {"runId": known, "sessionKey": params["sessionKey"], "status": "accepted", "queued": 0}

    def chat_abort(self, params: Json, _: str) -> Json:
        active = [r for r in self.gateway.runs.values() if r.session == params["sessionKey"] and not r.ended]
        for run in active[:1]:
            run.scope.cancel()
        return {"ok": True, "aborted": bool(active), "count": len(active[:1])}

    def chat_resume(self, params: Json, _: str) -> Json:
        run = self.gateway.runs[params["runId"]]
        missed = [e for e in run.events if e["runSeq"] > params["afterRunSeq"]]
        for event in missed:
            self.event("agent", event)
        return {
            "runId": run.id,
            "status": "completed" if run.ended else "running",
            "replayed": len(missed),
            "gap": False,
        }


class Refused(Exception):
    pass


def application(gateway: StandIn, nursery: trio.Nursery) -> QuartTrio:
    app = QuartTrio(__name__, static_folder=None)
    files = UiFiles(VERSION)

    @app.websocket("/ws")
    async def ws() -> None:
        socket = Socket(gateway, nursery)
        gateway.sockets.add(socket)
        try:
            with socket.dropped:
                async with trio.open_nursery() as tasks:
                    tasks.start_soon(write, socket)
                    while True:
                        await socket.call(json.loads(await websocket.receive()))
        finally:
            gateway.sockets.discard(socket)

    async def write(socket: Socket) -> None:
        async for frame in socket.outbox:
            await websocket.send(json.dumps(frame))

    routes(app, gateway.acts, lambda: gateway.token in ("", request.headers.get("Authorization", "")[len("Bearer ") :]))

    @app.post("/test/<what>")
    async def control(what: str) -> Response:
        """drop: cut every socket. release: let the waiting run finish. crash, end: an actor. orders: what was asked."""
        if what == "drop":
            for socket in list(gateway.sockets):
                socket.dropped.cancel()
        if what == "release":
            gateway.released.set()
        if what == "crash":
            for path in request.args["path"].split(","):
                gateway.acts.crash(
                    path, request.args.get("then", "restarted"), int(request.args.get("backoff_ms", 150))
                )
        if what == "end":
            mind = gateway.house.minds[request.args["path"]]
            gateway.house.end(mind.path)
            gateway.acts.say("stopped", mind, reason="idle")
        return Response(json.dumps(gateway.acts.orders), content_type="application/json")

    @app.get("/ui/")
    @app.get("/ui/<path:_>")
    async def ui(_: str = "") -> Response:
        status, headers, body = files.answer(request.path, {k.lower(): v for k, v in request.headers.items()})
        return Response(body, status, dict(headers))

    return app


async def main() -> None:
    parse = argparse.ArgumentParser()
    parse.add_argument("--port", type=int, default=0)
    parse.add_argument("--token", default="")
    parse.add_argument("--role", default="admin")
    parse.add_argument("--actors", type=int, default=60)
    parse.add_argument("--virtual", type=int, default=0)
    parse.add_argument("--crash-every", type=float, default=0.0)
    args = parse.parse_args()
    config = Config()
    config.bind = [f"127.0.0.1:{args.port}"]
    config.errorlog = None
    async with trio.open_nursery() as nursery:
        gateway = StandIn(args.token, args.role, House(args.actors, args.virtual), nursery)
        app = application(gateway, nursery)
        if args.crash_every:
            nursery.start_soon(gateway.acts.trouble, args.crash_every)
        [bound] = await nursery.start(serve, app, config)
        print(json.dumps({"port": int(bound.rsplit(":", 1)[1])}), flush=True)  # noqa: T201


if __name__ == "__main__":
    trio.run(main)
