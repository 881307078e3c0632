"""Runs over HTTP where status, headers or bodies are not those of an operation: new ones, streams, bundles.

Contract: edge-http.md §23.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Any

import msgspec
from quart import Response

from goclaw.domain.access import Caller, Role
from goclaw.domain.errors import Rejected, StoreError, invalid, required
from goclaw.domain.events import RunEvent
from goclaw.domain.run_states import OPEN
from goclaw.domain.texts import text_of
from goclaw.edge.http.answers import json_response
from goclaw.edge.http.request import Call, Raw
from goclaw.edge.http.sse import KEEP_ALIVE_FRAME, Stream, frame, or_keep_alive
from goclaw.operations.context import Context
from goclaw.operations.feed import RunFeed, listening
from goclaw.operations.incident import Bundle, bundle
from goclaw.operations.params import decode
from goclaw.operations.replay_buffer import Replay
from goclaw.operations.run_rows import Run
from goclaw.operations.runs import CreateRun, GetRun, RetryRun, create, get, retry
from goclaw.operations.tasks import task_seen

LAST_EVENT = "Last-Event-ID"
RETRY = b"retry: 3000\n"  # a field of the first frame; edge-http.md §0.5
DIGITS = 18  # of an event's number
TURNS = frozenset({"run.queued", "run.started", "run.recovered", "run.released", "run.retrying"})  # of the state


async def start(call: Call, caller: Caller) -> Response:
    """Have an agent work on something; 202 as soon as it is stored."""
    ctx = call.context(caller)
    created = await create(ctx, decode(CreateRun, await call.body()))
    call.replayed = ctx.replayed
    headers = {"Location": f"{call.path}/{created.run.id}"}
    return json_response(created.run, 202, headers)


async def again(call: Call, caller: Caller) -> Response:
    """Try a run again: the same one, or 201 and a new one."""
    ctx = call.context(caller)
    ask = await call.input(RetryRun)
    if call.path.startswith("/v1/tasks/"):
        await task_seen(ctx, ask)
    retried = await retry(ctx, ask)
    if not retried.new:
        return json_response(retried.run)
    place = call.path.rpartition("/retry")[0].rpartition("/")[0]
    return json_response(retried.run, 201, {"Location": f"{place}/{retried.run.id}"})


async def incident(call: Call, caller: Caller) -> Response:
    """Pack all that is known of a run into one archive."""
    packed: Bundle = await bundle(call.context(caller), await call.input(GetRun))
    headers = {"Content-Type": "application/gzip", "Content-Disposition": f'attachment; filename="{packed.name}"'}
    return Response(packed.body, 200, headers)


async def stream(call: Call, caller: Caller) -> Response:
    """Follow a run: its state, its text as it comes, its tools, its end. Any number of readers."""
    return await _follow(call, caller, call.captured["run_id"])


async def stream_of_task(call: Call, caller: Caller) -> Response:
    """Follow a run named by `task_id`, at the path older clients know."""
    task = call.request.args.get("task_id", "")
    if not task:
        raise Rejected(required("task_id"))
    return await _follow(call, caller, task)


async def _follow(call: Call, caller: Caller, run_id: str) -> Response:
    ctx = call.context(caller)
    ask = GetRun(run_id=run_id)
    if call.path.startswith("/v1/tasks/"):
        await task_seen(ctx, ask)
    run = await get(ctx, ask)
    last = call.request.headers.get(LAST_EVENT, "")
    if last and not (last.isascii() and last.isdigit() and len(last) <= DIGITS):
        raise Rejected(invalid(LAST_EVENT, "not a number of an event"))
    following = Following(ctx, run, int(last) if last else None)
    return Stream(following.frames(), following.close).response({})


class Following:
    """One reader of a run. It hears the run before it looks at the row, so nothing falls in between.

    Who comes in the middle gets what was said before, as long as that is kept; `last` is the event a reader has.
    """

    def __init__(self, ctx: Context, run: Run, last: int | None) -> None:
        self._ctx = ctx
        self._run = run
        self._last = last
        self._told = ("", 0)  # state and attempt
        self._stack = ExitStack()
        self._feed: RunFeed = self._stack.enter_context(listening(ctx.system, run.id))
        self.close: Callable[[], None] = self._stack.close
        heard = ctx.house.replays.since(run.id, last or 0)
        self._heard = heard if heard is not None else Replay((), 0, True, "")
        if not self._heard.gap:
            self._feed.catch_up(_of_this_life(self._heard.events))

    async def frames(self) -> AsyncGenerator[bytes, None]:
        await self._look()
        gap = self._last is not None and self._heard.gap
        yield RETRY + (frame({"type": "gap"}) if gap else b"") + self._status()
        if self._run.state not in OPEN:
            yield await self._rest() + self._done()
            return
        if self._heard.gap and self._heard.text:
            yield frame({"type": "token", "token": self._heard.text}, id=self._heard.last)
        while events := await or_keep_alive(self._feed.next):
            if events is KEEP_ALIVE_FRAME:
                yield KEEP_ALIVE_FRAME
                continue
            piece = b"".join([await self._frame(event) for event in events])
            if piece:
                yield piece
        ended = await self._feed.result()
        await self._look()
        if self._run.state not in OPEN:
            yield self._done()
        elif ended.error is not None:  # the gateway goes, the run does not: who comes back hears the rest
            error = {"code": ended.error.code, "message": text_of(ended.error, self._ctx.caller.locale)}
            yield frame({"type": "done", "state": self._run.state, "error": error})

    async def _rest(self) -> bytes:
        """Of a run that is over: what the reader does not have, or all of its text."""
        if self._last is not None and not self._heard.gap:
            return b"".join([await self._frame(event) for event in self._heard.events])
        text = (self._run.result or {}).get("content", "")
        return frame({"type": "token", "token": text}) if text else b""

    async def _frame(self, event: RunEvent) -> bytes:
        if event.type in TURNS:
            await self._look()
            reset = self._reset(event)
            return (frame(reset, id=event.run_seq) if reset else b"") + self._status(event.run_seq)
        told = _token(event) or _tool(event)
        return frame(told, id=event.run_seq) if told else b""

    def _reset(self, event: RunEvent) -> dict[str, Any] | None:
        """What was said so far is void, if it is."""
        said = msgspec.json.decode(event.body)
        if event.type == "run.recovered" and not said.get("checkpoint"):
            return {"type": "reset", "reason": said.get("after", "restart")}
        if event.type == "run.retrying" and said.get("reset"):
            return {"type": "reset", "reason": "retry"}
        return None

    async def _look(self) -> None:
        with suppress(StoreError, Rejected):  # weather, or it was put away: what is known stays
            self._run = await get(self._ctx, GetRun(run_id=self._run.id))

    def _status(self, seq: int | None = None) -> bytes:
        """The state, if it is news."""
        now = (self._run.state, self._run.attempt)
        if now == self._told:
            return b""
        self._told = now
        return frame({"type": "status", "state": self._run.state, "attempt": self._run.attempt}, id=seq)

    def _done(self) -> bytes:
        done = {"type": "done", "state": self._run.state, "result": self._run.result, "error": self._run.error}
        return frame({name: value for name, value in done.items() if value is not None})


def _of_this_life(events: Sequence[RunEvent]) -> Sequence[RunEvent]:
    """Without what a run said before it ended and was tried again."""
    ends = [place for place, event in enumerate(events, 1) if event.terminal]
    return events[ends[-1] :] if ends else events


def _token(event: RunEvent) -> dict[str, Any] | None:
    return {"type": "token", "token": event.text} if event.type == "chunk" else None


def _tool(event: RunEvent) -> dict[str, Any] | None:
    if event.type not in ("tool.call", "tool.result"):
        return None
    said = msgspec.json.decode(event.body)
    told = {"type": event.type.replace(".", "_"), "tool_name": said["name"], "call_id": said["id"]}
    if event.type == "tool.call":
        return {**told, "arguments": said["arguments"]}
    return {**told, "is_error": said["is_error"]}


ROUTES = (
    Raw("POST /v1/runs", Role.OPERATOR, start),
    Raw("POST /v1/tasks", Role.OPERATOR, start),
    Raw("POST /v1/runs/{run_id}/retry", Role.OPERATOR, again),
    Raw("POST /v1/tasks/{run_id}/retry", Role.OPERATOR, again),
    Raw("POST /v1/runs/{run_id}/incident", Role.ADMIN, incident),
    Raw("GET /v1/runs/{run_id}/stream", Role.VIEWER, stream),
    Raw("GET /v1/tasks/{run_id}/stream", Role.VIEWER, stream),
    Raw("GET /api/v1/task/stream", Role.VIEWER, stream_of_task),
)
