"""Actors in threads, for libraries that block. Contract: supervision.md §11.

The cell, its mailbox, its deadline and its restarts stay on the trio side; pykka is only the vehicle. One
message at a time is handed over, the rest waits in the ordinary mailbox.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import pykka
import trio
from outcome import Error, capture

from goclaw.runtime.actor import Actor, Context, Table
from goclaw.runtime.address import Address
from goclaw.runtime.faults import ActorStopped, IgnoredFull, ThreadDied, TooManyThreads, TooManyZombies
from goclaw.runtime.message import Message
from goclaw.runtime.reply import Reply

T = TypeVar("T")
ZOMBIES = 8  # threads left behind and still running, per node; supervision.md §11
ZOMBIES_PER_HOUR = 32
THREADS = 128  # blocking actors per node
STACK = 512 * 1024  # bytes per thread


class ThreadContext:
    """What a handler in a thread may touch."""

    def __init__(self, ctx: Context, token: trio.lowlevel.TrioToken) -> None:
        self.address = ctx.address
        self.log = ctx.log
        self.principal = ctx.principal
        self._ctx = ctx
        self._system = ctx.system
        self._token = token

    def tell(self, to: Address, message: Message[Any]) -> None:
        """Send without waiting. After the loop has ended nothing happens."""
        if self._system.checks is not None:
            self._system.checks.message(message)

        def deliver() -> None:
            with contextlib.suppress(IgnoredFull):  # the thread could not look
                self._system.tell(to, message, sender=self.address, principal=self.principal)

        _soon(self._token, deliver)

    def ask(self, to: Address, message: Message[T], within: float) -> T:
        """The answer; only this thread waits for it. Raises as `Context.ask`, `ActorStopped` after the loop's end."""
        try:
            return trio.from_thread.run(self._ctx.ask, to, message, within, trio_token=self._token)
        except trio.RunFinishedError:
            raise ActorStopped(to) from None


class Worker(pykka.ThreadingActor):
    """A thread that runs one job after the other. Jobs catch everything, so pykka never sees a failure."""

    use_daemon_thread = True

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def on_start(self) -> None:
        threading.current_thread().name = self._name

    def on_receive(self, job: Callable[[], None]) -> None:
        job()


class Vehicles:
    """The threads of a node's blocking actors: how many run, and how many were left behind."""

    def __init__(self) -> None:
        self.running: set[pykka.ActorRef[Any]] = set()
        self._zombies: set[pykka.ActorRef[Any]] = set()
        self._abandoned: deque[float] = deque(maxlen=ZOMBIES_PER_HOUR + 1)  # when, monotonic

    @property
    def zombies(self) -> int:
        """Threads left behind in a call that has not returned yet."""
        self._zombies = {thread for thread in self._zombies if thread.is_alive()}
        return len(self._zombies)

    def start(self, name: str) -> pykka.ActorRef[Any]:
        """A new thread. Raises `TooManyThreads`: only a restart of the process cures stuck ones."""
        lately = [at for at in self._abandoned if at > trio.current_time() - 3600]
        if self.zombies > ZOMBIES or len(lately) > ZOMBIES_PER_HOUR:
            raise TooManyZombies(f"{self.zombies} threads are stuck, {len(lately)} were left behind within an hour")
        if len(self.running) >= THREADS:
            raise TooManyThreads(f"{THREADS} blocking actors run already")
        before = threading.stack_size(STACK)
        try:
            worker = Worker.start(name)
        finally:
            threading.stack_size(before)
        self.running.add(worker)
        return worker

    def stop(self, worker: pykka.ActorRef[Any]) -> None:
        self.running.discard(worker)
        worker.stop(block=False)  # a blocking stop would wait for the thread, and the loop with it

    def abandon(self, worker: pykka.ActorRef[Any]) -> None:
        self._zombies.add(worker)
        self._abandoned.append(trio.current_time())
        self.stop(worker)


class BlockingActor(Actor):
    """An actor whose handlers are plain functions run in its own thread: `@handles def open(self, ctx, ask)`.

    `ctx` is a `ThreadContext`. A kill or a cancelled handler calls `interrupt` and leaves the thread behind;
    the next message gets a fresh one, so a stuck library never holds the loop. Hooks run in the loop.
    """

    _worker: pykka.ActorRef[Any] | None = None
    _vehicles: Vehicles

    @classmethod
    def table(cls) -> Table:
        return {kind: (partial(_in_thread, method), True) for kind, (method, _) in super().table().items()}

    def interrupt(self) -> None:
        """Make the current call return early, from another thread. For instance: close its socket."""

    def release(self) -> None:
        if self._worker is not None:
            self._vehicles.stop(self._worker)
            self._worker = None

    def vehicle(self, current_call: float | None) -> dict[str, Any]:
        """Its thread, for operators. `current_call` in seconds."""
        alive = self._worker is not None and self._worker.is_alive()
        call = None if current_call is None else int(current_call * 1000)
        return {"thread": alive, "zombie": False, "current_call_ms": call}

    def _thread(self, ctx: Context) -> pykka.ActorRef[Any]:
        if self._worker is None:
            self._vehicles = ctx.system.vehicles
            self._worker = self._vehicles.start(ctx.address)
        return self._worker

    def _leave_behind(self) -> None:
        if self._worker is not None:
            self._vehicles.abandon(self._worker)
            self._worker = None
        self.interrupt()


async def _in_thread(method: Callable[..., Any], actor: BlockingActor, ctx: Context, message: Message[Any]) -> Any:
    token = trio.lowlevel.current_trio_token()
    slot = Reply()
    here = ThreadContext(ctx, token)

    if ctx.system.inline is not None:
        return await ctx.system.inline.run(partial(method, actor, here, message))

    def job() -> None:
        if slot.over:  # whoever waited gave up while the thread was busy
            return
        result = capture(method, actor, here, message)
        if isinstance(result, Error) and not isinstance(result.error, Exception):
            # SystemExit and the like in a library must not reach pykka, which would stop every actor
            result = Error(ThreadDied(f"{here.address}: {type(result.error).__name__} in its thread"))
        _soon(token, partial(slot.settle, result))

    actor._thread(ctx).tell(job)
    try:
        return await slot.wait()
    except trio.Cancelled:
        actor._leave_behind()
        raise


def _soon(token: trio.lowlevel.TrioToken, call: Callable[[], object]) -> None:
    with contextlib.suppress(trio.RunFinishedError):
        token.run_sync_soon(call)
