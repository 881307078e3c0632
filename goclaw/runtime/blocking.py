"""Actors in threads, for libraries that block. Contract: supervision.md §11.

The cell, its mailbox, its deadline and its restarts stay on the trio side; pykka is only the vehicle. One
message at a time is handed over, the rest waits in the ordinary mailbox.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

import pykka
import trio
from outcome import Error, capture

from goclaw.runtime.actor import Actor, Context, Table
from goclaw.runtime.address import Address
from goclaw.runtime.faults import ThreadDied, TooManyZombies
from goclaw.runtime.message import Message
from goclaw.runtime.reply import Reply

ZOMBIES = 8  # threads left behind and still running, per node; supervision.md §11


class ThreadContext:
    """What a handler in a thread may touch."""

    def __init__(self, ctx: Context, token: trio.lowlevel.TrioToken) -> None:
        self.address = ctx.address
        self.log = ctx.log
        self.principal = ctx.principal
        self._system = ctx.system
        self._token = token

    def tell(self, to: Address, message: Message[Any]) -> None:
        """Send without waiting. After the loop has ended nothing happens."""
        _soon(self._token, partial(self._system.tell, to, message, sender=self.address, principal=self.principal))


class Worker(pykka.ThreadingActor):
    """A thread that runs one job after the other. Jobs catch everything, so pykka never sees a failure."""

    use_daemon_thread = True

    def on_receive(self, job: Callable[[], None]) -> None:
        job()


class BlockingActor(Actor):
    """An actor whose handlers are plain functions run in its own thread: `@handles def open(self, ctx, ask)`.

    `ctx` is a `ThreadContext`. A kill or a cancelled handler calls `interrupt` and leaves the thread behind;
    the next message gets a fresh one, so a stuck library never holds the loop. Hooks run in the loop.
    """

    _worker: pykka.ActorRef[Any] | None = None

    @classmethod
    def table(cls) -> Table:
        return {kind: (partial(_in_thread, method), True) for kind, (method, _) in super().table().items()}

    def interrupt(self) -> None:
        """Make the current call return early, from another thread. For instance: close its socket."""

    def release(self) -> None:
        if self._worker is not None:
            self._worker.stop(block=False)  # a blocking stop would wait for the thread, and the loop with it
            self._worker = None

    def _thread(self, ctx: Context) -> pykka.ActorRef[Any]:
        if self._worker is None:
            zombies = ctx.system.zombies
            zombies -= {thread for thread in zombies if not thread.is_alive()}
            if len(zombies) > ZOMBIES:  # a crash: the limits of the supervisors above decide
                raise TooManyZombies(f"{len(zombies)} threads are stuck")
            self._worker = Worker.start()
        return self._worker

    def _leave_behind(self, ctx: Context) -> None:
        if self._worker is not None:
            ctx.system.zombies.add(self._worker)
        BlockingActor.release(self)
        self.interrupt()


async def _in_thread(method: Callable[..., Any], actor: BlockingActor, ctx: Context, message: Message[Any]) -> Any:
    token = trio.lowlevel.current_trio_token()
    slot = Reply()
    here = ThreadContext(ctx, token)

    def job() -> None:
        result = capture(method, actor, here, message)
        if isinstance(result, Error) and not isinstance(result.error, Exception):
            # SystemExit and the like in a library must not reach pykka, which would stop every actor
            result = Error(ThreadDied(f"{here.address}: {type(result.error).__name__} in its thread"))
        _soon(token, partial(slot.settle, result))

    actor._thread(ctx).tell(job)
    try:
        return await slot.wait()
    except trio.Cancelled:
        actor._leave_behind(ctx)
        raise


def _soon(token: trio.lowlevel.TrioToken, call: Callable[[], object]) -> None:
    with contextlib.suppress(trio.RunFinishedError):
        token.run_sync_soon(call)
