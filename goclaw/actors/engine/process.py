"""One program in the background: what it wrote, what it is told, how it ends.

Address   /engine/processes/{id}
Contract  tools.md §13

It stays for a while after its program's end, so that the end can be heard of.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from signal import SIGINT, SIGTERM, SIGUSR1, Signals

import trio
from msgspec.structs import replace

from goclaw.domain.errors import Err, ProviderError, failed_precondition, unavailable
from goclaw.domain.events import body, of_admins, of_user
from goclaw.domain.process import (
    AwaitExit,
    Facts,
    Killed,
    KillProcess,
    Piece,
    ProcessEvent,
    ReadOutput,
    StartProcess,
    Stroke,
    WriteInput,
)
from goclaw.providers.program import Program, Programs
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.message import Message
from goclaw.runtime.reply import Reply
from goclaw.security.confine import GRACE, confined, exit_code

RING = 2**20  # bytes that can be read; tools.md §13
SPOOL = 20 * 2**20  # bytes of the file
BATCH, PAUSE = 65_536, 0.2  # bytes and seconds until what was written goes to the file
LONGEST = 24 * 3600.0  # seconds it may run
KEPT = 30 * 60.0  # seconds it is known after its end
DEAF = 1.0  # seconds it has to make room for what it is told; our decision
STROKES: dict[Stroke, Signals] = {"TERM": SIGTERM, "INT": SIGINT, "KILL": SIGUSR1}  # as its keeper knows them


class Due(Message[None]):
    """Nobody waits any longer for the end."""

    waiter: int


class Ended(Message[None]):
    """To its supervisor."""

    facts: Facts


class Ring:
    """The last `size` bytes of a stream, by their place in it."""

    def __init__(self, size: int = RING) -> None:
        self.size = size
        self.dropped = 0
        self._bytes = bytearray()

    @property
    def total(self) -> int:
        return self.dropped + len(self._bytes)

    def add(self, data: bytes) -> None:
        self._bytes += data
        if (over := len(self._bytes) - self.size) > 0:
            del self._bytes[:over]
            self.dropped += over

    def read(self, offset: int, limit: int) -> Piece:
        """At most `limit` bytes from `offset`, or from where there still are some. Cuts no character in two."""
        start = min(max(offset - self.dropped, 0), len(self._bytes))
        data = bytes(self._bytes[start : start + limit])
        if start + limit < len(self._bytes):
            data = data[: whole(data)] or data
        return Piece(
            text=data.decode("utf-8", "replace"), next_offset=self.dropped + start + len(data), dropped=self.dropped
        )


class Spool:
    """The whole of it in a file, as long as it is not too much. A disk that is full costs the file, not the program."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.waiting = bytearray()
        self.left = SPOOL

    def add(self, data: bytes) -> bool:
        """Whether it is worth a write."""
        self.waiting += data[: self.left]
        self.left -= min(len(data), self.left)
        return len(self.waiting) >= BATCH

    async def flush(self) -> None:
        batch = bytes(self.waiting)
        self.waiting.clear()
        if batch:
            await trio.to_thread.run_sync(self._write, batch)

    def _write(self, batch: bytes) -> None:
        try:
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with open(file, "ab") as stream:
                stream.write(batch)
        except OSError:
            self.left = 0


class ProcActor(Actor):
    capacity = 256

    def __init__(self, id: str, asked: StartProcess, spool: Path, begun: Reply | None) -> None:
        self.id = id
        self.asked = asked
        self.ring = Ring()
        self.spool = Spool(spool)
        self.program: Program | None = None
        self.waiters: dict[int, Reply] = {}  # for its end …
        self.killers: list[Reply] = []  # … who want to see it
        self.begun = begun  # who asked for it
        self.place = asked.place

    async def on_start(self, ctx: Context) -> None:
        asked = self.asked
        self.facts = Facts(
            id=self.id, command=asked.shown, running=True, started_at=iso(ctx.clock.now()), shell=asked.shell
        )

    async def live(self, ctx: Context) -> None:
        await self._run(ctx)
        code = exit_code(self.program.returncode) if self.program is not None else None
        self.program = None
        self.facts = replace(self.known, running=False, exit_code=code, ended_at=iso(ctx.clock.now()))
        if ctx.parent is not None:
            ctx.tell(ctx.parent, Ended(facts=self.facts))
        self._say(ctx, "process.exit")
        for reply in self.waiters.values():
            reply.answer(self.facts)
        for reply in self.killers:
            reply.answer(Killed(killed=True, exit_code=code))
        self.waiters.clear()
        self.killers.clear()
        await trio.sleep(KEPT)

    def release(self) -> None:
        self._started(unavailable("process"))
        if self.place >= 0:
            os.close(self.place)
            self.place = -1

    def _started(self, answer: str | Err) -> None:
        if self.begun is not None:
            self.begun.answer(answer)
            self.begun = None

    async def _run(self, ctx: Context) -> None:
        """From its first line to its last breath; no longer than a day, and no longer than we live."""
        programs = Programs(GRACE + 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(programs.live)
            try:
                self.program = await programs.start(
                    confined(self.asked.command, self.place),
                    cwd=Path("/"),
                    env=dict(self.asked.variables),
                    raw=True,
                    hand_over=(self.place,),
                )
                self._started(self.facts.id)
                self.release()
                self._say(ctx, "process.start")
                nursery.start_soon(self._spool_on)
                with trio.move_on_after(LONGEST) as day:
                    await self._listen(self.program)
                if day.cancelled_caught:
                    self.program.end()
                await self.program.over.wait()
                await self.spool.flush()
            except ProviderError as error:  # it did not start
                ctx.log.warning("process.not_started", process=self.id, error=error.message)
                self.release()
            finally:
                programs.close()
            nursery.cancel_scope.cancel()

    async def _listen(self, program: Program) -> None:
        async for data in program.lines:
            self.ring.add(data)
            if self.spool.add(data):
                await self.spool.flush()

    async def _spool_on(self) -> None:
        while True:
            await trio.sleep(PAUSE)
            await self.spool.flush()

    # --- what is asked of it ------------------------------------------------------------------

    @handles
    def wait(self, ctx: Context, ask: AwaitExit) -> Facts | None:
        if not self.facts.running or ask.within <= 0:
            return self.known
        if (reply := ctx.defer()) is not None:
            waiter = max(self.waiters, default=0) + 1
            self.waiters[waiter] = reply
            ctx.after(ask.within, Due(waiter=waiter))
        return None

    @handles
    def due(self, _ctx: Context, tick: Due) -> None:
        if (reply := self.waiters.pop(tick.waiter, None)) is not None:
            reply.answer(self.known)

    @handles
    def read(self, _ctx: Context, ask: ReadOutput) -> Piece:
        return self.ring.read(ask.offset, ask.limit)

    @handles
    async def write(self, _ctx: Context, ask: WriteInput) -> int | Err:
        if self.program is None or self.program.dying:
            return failed_precondition("process_ended", id=self.facts.id)
        with trio.move_on_after(DEAF):
            await self.program.send(ask.data)
            return len(ask.data)
        return failed_precondition("process_does_not_read", id=self.facts.id)

    @handles
    def kill(self, ctx: Context, ask: KillProcess) -> Killed | None:
        if self.program is None:
            return Killed(killed=False, exit_code=self.facts.exit_code)
        if (reply := ctx.defer()) is not None:
            self.killers.append(reply)
        self._say(ctx, "process.kill", signal=ask.signal)
        self.program.strike(STROKES[ask.signal])
        return None

    @property
    def known(self) -> Facts:
        return replace(self.facts, bytes=self.ring.total)

    def _say(self, ctx: Context, type: str, **more: str) -> None:
        owner, facts = self.asked.owner, self.known
        members = {"id": facts.id, "command": facts.command, "agentId": self.asked.agent_key} | more
        members |= {"sessionKey": owner.session_key, "userId": owner.user_id}
        event = ProcessEvent(type=type, body=body(**members, running=facts.running, exitCode=facts.exit_code))
        for group in (of_user(owner.tenant_id, owner.user_id), of_admins(owner.tenant_id)):
            ctx.publish(group, event)

    def snapshot(self) -> dict[str, object]:
        return {"running": self.facts.running, "bytes": self.ring.total, "waiting": len(self.waiters)}


def whole(data: bytes) -> int:
    """How much of it is whole characters; a beginning of one at the end does not count."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte >= 0xC0:
            wanted = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) if wanted == back else len(data) - back
        if byte < 0x80:
            break
    return len(data)


def iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
