"""A real gateway process, a client for its socket, and a vendor that does what the user's text says.

The vendor lives in the test's own loop, so a test can hold an answer in the middle and look around. Nothing here
waits for time to pass: everything waits for something that happens, with a deadline.
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import httpx
import psycopg
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream

from tests.fakes.vendor import DONE, END, HEAD, Ask, FakeVendor, Hangup, chunked, event

Json = dict[str, Any]
PATIENCE = 15.0  # seconds anything may take before a test fails; nothing takes one
TERMINAL = ("run.completed", "run.failed", "run.cancelled")

# --- the vendor -----------------------------------------------------------------------------------


class ObedientVendor(FakeVendor):
    """`!fault-html`, `!slow-20cps` … as the user's text choose the model; other texts are echoed.

    `!calls [["exec", {"command": "ls"}], …]` calls these tools one after the other. `!hold-3` says three words and
    then waits until the test calls `release`.
    """

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.held = 0  # answers that wait in the middle now
        self.abandoned = 0  # answers whose reader left while they were held
        self.asked: list[str] = []  # the user's texts, in the order they came
        self._go = trio.Event()

    def release(self) -> None:
        """Let every held answer end, and those to come."""
        self._go.set()

    async def holds(self, answers: int) -> None:
        """Until so many answers are held."""
        await self.until(lambda _: self.held == answers)

    async def is_asked(self, times: int) -> None:
        await self.until(lambda _: len(self.asked) == times and self.held > 0)

    async def is_left(self) -> None:
        """Until somebody gave up on a held answer."""
        await self.until(lambda _: self.abandoned > 0)

    async def _complete(self, to: trio.SocketStream, ask: Ask) -> None:
        text = ask.last("user")
        self.asked.append(text)
        if text.startswith("!calls ") and ask.tools:
            return await self._call(to, ask, json.loads(text.removeprefix("!calls ")))
        if text.startswith("!"):
            ask.model, *rest = text[1:].split(maxsplit=1)
            if rest and rest[0].startswith("{"):  # what a tool is called with
                next(one for one in reversed(ask.messages) if one.role == "user").content = rest[0]
            self.calls[ask.model] += 1
        if held := re.fullmatch(r"hold-(\d+)", ask.model):
            return await self._hold(to, ask.model, [f"word{n} " for n in range(int(held[1]))], "end")
        await super()._complete(to, ask)

    async def _call(self, to: trio.SocketStream, ask: Ask, script: list[Any]) -> None:
        """One call after the other, and at the end the text that the script ends with, or all results."""
        last = max(place for place, one in enumerate(ask.messages) if one.role == "user")
        results = [one.content for one in ask.messages[last:] if one.role == "tool"]
        calls = [one for one in script if not isinstance(one, str)]
        if len(results) < len(calls):
            name, arguments = calls[len(results)]
            function = {"name": name, "arguments": json.dumps(arguments)}
            called = {"index": 0, "id": f"call_{last}_{len(results)}", "type": "function", "function": function}
            pieces = [event(ask.model, {"tool_calls": [called]}), event(ask.model, {}, "tool_calls")]
        else:
            text = script[-1] if isinstance(script[-1], str) else "\n===\n".join(results)
            pieces = [event(ask.model, {"content": text}), event(ask.model, {}, "stop")]
        await to.send_all(HEAD + b"".join(map(chunked, [*pieces, DONE])) + END)

    async def _hold(self, to: trio.SocketStream, model: str, words: Sequence[str], last: str) -> None:
        said = b"".join(chunked(event(model, {"content": word})) for word in words)
        await to.send_all(HEAD + said)
        self.held += 1
        self._closed.set()
        gone = False

        async def notice() -> None:
            nonlocal gone
            with suppress(trio.BrokenResourceError):
                await to.receive_some(1)
            gone = True
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(notice)
            await self._go.wait()
            nursery.cancel_scope.cancel()
        self.held -= 1
        self.abandoned += gone
        self._closed.set()
        if gone:
            raise Hangup
        ends = chunked(event(model, {"content": last})) + chunked(event(model, {}, "stop")) + chunked(DONE)
        await to.send_all(ends + END)


class VendorPlace:
    """A port for the vendors of many tests, one after the other: the gateway knows only its address."""

    def __init__(self, kind: type[ObedientVendor] = ObedientVendor) -> None:
        self.kind = kind
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]

    def close(self) -> None:
        self._socket.close()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[ObedientVendor]:
        vendor = self.kind(self.port)
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._socket.dup()))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, vendor.serve, [listener])
            yield vendor
            nursery.cancel_scope.cancel()


# --- the process ----------------------------------------------------------------------------------


class Gateway:
    """`goclaw` in a home of its own. It may be started, ended and started again."""

    program = "goclaw"  # the module that is run
    made: ClassVar[Path | None] = None  # a database that is made and migrated: a new home begins with a copy

    def __init__(self, home: Path, config: Mapping[str, Any] | None = None, **environ: str) -> None:
        self.home = home
        home.mkdir(exist_ok=True)
        if config is not None:
            (home / "config.json").write_text(json.dumps(config))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GOCLAW_")}
        self.environ = {**kept, "GOCLAW_HOME": str(home), "GOCLAW_ACTOR_DEBUG": "1", **environ}
        self.cluster = home / "data/pg"
        self.process: subprocess.Popen[str] | None = None
        self.address = ""
        self.forgiven = ""  # crashes with this text are what the test is about

    @property
    def log_path(self) -> Path:
        return self.home / "stderr"

    @property
    def token(self) -> str:
        return (self.home / "auth.token").read_text().strip()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def dsn(self) -> str:
        own = f"host={self.cluster} user=goclaw dbname=postgres"
        return self.environ.get("GOCLAW_POSTGRES_DSN", own)

    @property
    def postmaster(self) -> int:
        return int((self.cluster / "postmaster.pid").read_text().splitlines()[0])

    def start(self, *arguments: str) -> None:
        """Return when it has printed its address."""
        if self.made is not None and not self.cluster.exists() and "GOCLAW_POSTGRES_DSN" not in self.environ:
            self.cluster.parent.mkdir(mode=0o700, exist_ok=True)
            shutil.copytree(self.made, self.cluster)
        command = [sys.executable, "-m", self.program, "--port", "0", *arguments]
        with self.log_path.open("a") as log:
            self.process = subprocess.Popen(
                command, env=self.environ, cwd=self.home, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.search(r"http://\S+?(?=/ui/)", line):
                self.address = found[0]
                return
        raise AssertionError(f"it ended with {self.process.wait()}: {self.log_path.read_text()}")

    def kill(self) -> None:
        """As the kernel would: no goodbye."""
        os.kill(self.pid, signal.SIGKILL)
        self._reap()

    async def terminate(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.terminate()
        return await self.ended()

    async def ended(self) -> int:
        watch = os.pidfd_open(self.pid)
        try:
            with trio.fail_after(PATIENCE):
                await trio.lowlevel.wait_readable(watch)
        finally:
            os.close(watch)
        return self._reap()

    def stop(self) -> int:
        """SIGTERM from outside of any loop; a process that does not end in time is killed."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
            watch = os.pidfd_open(self.pid)
            if not select.select([watch], [], [], PATIENCE)[0]:
                self.process.kill()
            os.close(watch)
        return self._reap()

    def _reap(self) -> int:
        assert self.process is not None
        assert self.process.stdout is not None
        code = self.process.wait()
        self.process.stdout.close()
        return code

    @property
    def log(self) -> list[Json]:
        return [json.loads(line) for line in self.log_path.read_text().splitlines() if line.startswith("{")]

    def complaints(self, *, all: bool = False) -> list[str]:
        """What no healthy gateway writes. Without what the test has `forgiven`, unless `all` is wanted."""
        lines = self.log_path.read_text().splitlines()
        wrong = [line for line in lines if "Traceback" in line or '"level": "error"' in line]
        return [line for line in wrong if all or not self.forgiven or self.forgiven not in line]

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """A look behind the doors. Only for what no door shows."""
        with psycopg.connect(self.dsn) as db:
            return db.execute(query, values).fetchall()

    def http(self, **headers: str) -> httpx.AsyncClient:
        sent = {"authorization": f"Bearer {self.token}", **{name.replace("_", "-"): v for name, v in headers.items()}}
        return httpx.AsyncClient(base_url=self.address, headers=sent, timeout=PATIENCE)

    @asynccontextmanager
    async def socket(self, headers: Mapping[str, str] | None = None) -> AsyncIterator[Client]:
        """An open socket that has not said connect."""
        place = urlsplit(self.address)
        extra = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        assert place.hostname is not None
        tcp = await trio.open_tcp_stream(place.hostname, place.port or 80)
        async with tcp, trio.open_nursery() as nursery:
            wire = await wrap_client_stream(nursery, tcp, place.netloc, "/ws", extra_headers=extra)
            client = Client(wire, tcp)
            nursery.start_soon(client.read)
            try:
                yield client
            finally:
                with trio.move_on_after(2, shield=True):
                    await wire.aclose()
                nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def client(self, user: str = "lan") -> AsyncIterator[Client]:
        """A connected socket."""
        async with self.socket() as client:
            client.welcome = await client.ask("connect", token=self.token, user_id=user)
            yield client


@contextmanager
def running(gateway: Gateway) -> Iterator[Gateway]:
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.stop()


def with_vendor(place: VendorPlace, **more: Any) -> Json:
    """The configuration of a gateway whose one vendor is at `place`; what crashed before goes on soon after a start."""
    queue = {"suspect_hold_sec": 0.3, **more.pop("queue", {})}
    row = {"api_base": f"http://127.0.0.1:{place.port}/v1", "api_key": "x", "models": ["echo"]}
    return {"providers": {"fake": row}, "queue": queue, **more}


# --- the client -----------------------------------------------------------------------------------


class Refusal(Exception):
    """The error of a `res`."""

    def __init__(self, error: Json) -> None:
        super().__init__(str(error))
        self.code: str = error["code"]
        self.details: Json = error.get("details", {})
        self.reason = self.details.get("reason")
        self.retryable: bool = error.get("retryable", False)


class Client:
    """One socket. `frames` is everything that came, in order."""

    def __init__(self, wire: WebSocketConnection, stream: trio.SocketStream) -> None:
        self.wire = wire
        self.stream = stream
        self.frames: list[Json] = []
        self.welcome: Json = {}
        self.closed: tuple[int, str] | None = None
        self._ids = count(1)
        self._news = trio.Event()

    async def read(self) -> None:
        try:
            while True:
                self.frames.append(json.loads(await self.wire.get_message()))
                self._stir()
        except ConnectionClosed as end:
            self.closed = (end.reason.code, end.reason.reason or "") if end.reason else (1006, "")
            self._stir()

    def _stir(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def until(self, found: Callable[[], Any]) -> Any:
        """What `found` returns as soon as it is true; looked at whenever a frame comes."""
        with trio.fail_after(PATIENCE):
            while not (value := found()):
                assert self.closed is None, f"closed {self.closed}, last frames {self.frames[-3:]}"
                await self._news.wait()
            return value

    async def close_code(self) -> int:
        with trio.fail_after(PATIENCE):
            while self.closed is None:
                await self._news.wait()
        return self.closed[0]

    async def send(self, method: str, *, id: str | int | None = None, **params: Any) -> str | int:
        """Send a request and do not wait; its id."""
        id = f"r{next(self._ids)}" if id is None else id
        await self.raw(json.dumps({"type": "req", "id": id, "method": method, "params": params}))
        return id

    async def raw(self, text: str | bytes) -> None:
        await self.wire.send_message(text)

    async def answer(self, id: str | int) -> Json:
        """The payload of the response to `id`. Raises Refusal."""
        frame = await self.until(lambda: next((f for f in self.frames if f["type"] == "res" and f["id"] == id), None))
        if not frame["ok"]:
            raise Refusal(frame["error"])
        payload: Json = frame["payload"]
        return payload

    async def ask(self, method: str, **params: Any) -> Json:
        return await self.answer(await self.send(method, **params))

    async def chat(self, message: str, key: str = "", **params: Any) -> Json:
        return await self.ask("chat.send", message=message, sessionKey=key, **params)

    @property
    def events(self) -> list[Json]:
        return [frame for frame in self.frames if frame["type"] == "event"]

    def run_events(self, run_id: str | None = None, key: str | None = None) -> list[Json]:
        """Payloads of the event `agent`, of one run or of one session."""
        told = [frame["payload"] for frame in self.frames if frame.get("event") == "agent"]
        return [e for e in told if run_id in (None, e["runId"]) and key in (None, e["sessionKey"])]

    async def hears(self, type: str, run_id: str | None = None, key: str | None = None) -> Json:
        """The first such event."""
        found = await self.until(lambda: next((e for e in self.run_events(run_id, key) if e["type"] == type), None))
        return dict(found)

    async def run_of(self, request: str | int) -> str:
        """The run a `chat.send` of ours started."""

        def queued() -> Any:
            told = (event for event in self.run_events() if event["type"] == "run.queued")
            return next((event["runId"] for event in told if event["payload"]["requestId"] == request), None)

        return str(await self.until(queued))

    async def history(self, key: str) -> list[Json]:
        return list((await self.ask("chat.history", sessionKey=key))["messages"])

    async def _updated(self, seen: int) -> None:
        await self.until(lambda: any(frame.get("event") == "session.updated" for frame in self.frames[seen:]))

    async def idle(self, key: str) -> None:
        """Wait until nothing runs or waits in a session."""
        while True:
            seen = len(self.frames)
            if not (await self.ask("chat.session.status", sessionKey=key))["running"]:
                return
            await self._updated(seen)


__all__ = ["Client", "ConnectionRejected", "Gateway", "ObedientVendor", "Refusal", "VendorPlace"]
