"""A living address: a mailbox, and the actor that lives there now.

The cell outlives the actor in it: a crash loses the actor, never the mailbox (supervision.md §7, §8.5).
A resident cell parks one task; a dormant one has a task only while messages wait (§10.1).
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

import structlog
import trio

from goclaw.runtime.actor import Actor, Context
from goclaw.runtime.address import Address
from goclaw.runtime.child import UNSCATHED, Child, History, State
from goclaw.runtime.crash import crash_of
from goclaw.runtime.family import Family
from goclaw.runtime.faults import ActorStopped, InjectedFault, QueueDropped, Rejected, StartFailed, quarantined
from goclaw.runtime.latency import Latency
from goclaw.runtime.mailbox import Mailbox, Overflow
from goclaw.runtime.message import (
    Cancel,
    ChildEnded,
    Drain,
    Envelope,
    LeaseLost,
    Message,
    Probe,
    Probed,
    Signal,
    Stop,
    Told,
)
from goclaw.runtime.reply import Reply
from goclaw.runtime.serve import ASLEEP, serve
from goclaw.runtime.timers import Timer

if TYPE_CHECKING:
    from goclaw.runtime.system import System

ACCEPTED, STOPPED, QUARANTINED = Told.ACCEPTED, State.STOPPED, State.QUARANTINED  # read for every message


class Cell:
    """One address of the registry. Created by a family or a virtual class, never by hand."""

    __slots__ = (
        "_ends_as", "_family", "_over", "_parked", "_scope", "_up", "active_at", "actor", "address", "asked",
        "asleep", "born_at", "failed", "groups", "hand", "hand_since", "handled", "in_hand", "incarnation",
        "kept", "latency", "mailbox", "news", "parent", "past", "replies", "spec", "state", "system", "timers",
    )  # fmt: skip

    perpetual = False  # a waiting message brings it back, whatever ended it

    def __init__(self, system: System, address: Address, spec: Child, parent: Cell | None) -> None:
        self.system = system
        self.address = address
        self.spec = spec
        self.parent = parent
        self.mailbox = Mailbox(
            getattr(spec.start, "capacity", Actor.capacity),
            getattr(spec.start, "overflow", Overflow.REJECT),
            system.load,
            owner=self,
        )
        self.actor: Actor | None = None
        self.state = State.STARTING
        self.incarnation = 0
        self.news: ChildEnded | None = None  # how the last incarnation ended, until the parent has seen to it
        self.past: History = UNSCATHED
        self.born_at = self.active_at = trio.current_time()
        self.in_hand: Envelope | None = None
        self.hand_since = 0.0
        self.handled = self.failed = self.replies = self.asked = 0
        self.latency: Latency | None = None  # of the last minute, if it did anything then
        self.groups: set[str] | None = None
        self.timers: set[Timer] | None = None
        self.kept = False  # it asked not to be passivated
        self._family: Family | None = None
        self.asleep = False  # the next message must wake it
        self._parked: trio.lowlevel.Task | None = None
        self._scope: trio.CancelScope | None = None  # of its task, while it has one
        self._ends_as = "killed"  # the reason, should the scope be cancelled
        self.hand: trio.CancelScope | None = None  # of the running handler, if a `Cancel` may end it
        self._up: Reply | None = None  # the parent waits for the start
        self._over: trio.Event | None = None  # somebody waits for the end

    @property
    def family(self) -> Family:
        if self._family is None:
            self._family = Family(self)
        return self._family

    @property
    def children(self) -> list[Cell]:
        return list(self._family.cells.values()) if self._family else []

    @property
    def idle(self) -> bool:
        """It sleeps, nothing waits, no child, no timer, no hold: a virtual actor may be passivated (§10 R8)."""
        return self.asleep and not self.engaged

    @property
    def engaged(self) -> bool:
        """Something is yet to come that needs it."""
        return self.kept or bool(self.mailbox.user or self.children or self.timers)

    @property
    def running(self) -> bool:
        """It has a task."""
        return self._scope is not None

    @property
    def alive(self) -> bool:
        """It is not between two incarnations, nor at its end."""
        return self.state in (State.STARTING, State.RUNNING, State.SUSPENDED)

    @property
    def restarts_window(self) -> int:
        """Restarts that count towards its limit now."""
        if not self.past.times or self.parent is None:
            return 0
        since = trio.current_time() - self.parent.family.limit_of(self).within
        return sum(at > since for at in self.past.times)

    @property
    def kind(self) -> str:
        return "supervisor" if self.actor is not None and self.actor.supervises else self.spec.kind

    @property
    def class_name(self) -> str:
        if self.actor is not None:
            return type(self.actor).__name__
        return getattr(self.spec.start, "__name__", "Actor")

    @property
    def log(self) -> structlog.stdlib.BoundLogger:
        log: structlog.stdlib.BoundLogger = structlog.get_logger()
        return log.bind(actor=self.address, incarnation=self.incarnation)

    def history(self) -> History:
        """Our own `past`, to be written to."""
        if self.past is UNSCATHED:
            self.past = History()
        return self.past

    def below(self, spec: Child) -> Cell:
        """A new cell whose parent we are; it is not registered yet."""
        return Cell(self.system, self.address / spec.id, spec, self)

    def later(self, delay: float, message: Message[Any], period: float | None = None) -> Timer:
        """Send ourselves `message` in so many seconds, as long as this incarnation lasts."""
        if self.system.checks is not None:
            self.system.checks.message(message)
        timer = Timer(self, message, period, trio.current_time() + delay)
        if self.timers is None:
            self.timers = set()
        self.timers.add(timer)
        self.system.timers.at(timer.at, timer)
        return timer

    # --- messages in --------------------------------------------------------------------------

    def deliver(self, envelope: Envelope) -> Told:
        """Take a message in, or say why not. Never waits."""
        if (self.state is STOPPED or self.state is QUARANTINED) and (refusal := self._refusal(envelope)) is not None:
            self.undelivered(envelope, "stopped", refusal)
            return Told.CLOSED
        homeless = self.mailbox.offer(envelope)
        if homeless is not None:
            if homeless is envelope and (
                self.mailbox.overflow is not Overflow.DROP_NEW or isinstance(envelope.message, Signal)
            ):
                return Told.FULL
            self.undelivered(homeless, "dropped_old", QueueDropped(self.address))
        if self.asleep:
            self._wake()
        elif self.in_hand is not None and isinstance(envelope.message, Signal):
            self._preempt(envelope)
        return ACCEPTED

    def _preempt(self, envelope: Envelope) -> None:
        """What some signals do although a handler runs (§4.3)."""
        match envelope.message:
            case Cancel(of=of) if self.hand is not None and self.in_hand is not None:
                if not of or of == self.in_hand.message.subject:
                    self.hand.cancel()
            case LeaseLost():
                self.mailbox.control.remove(envelope)  # obeyed: the next incarnation has nothing to do with it
                self.kill("lease_lost")
            case Probe() if envelope.reply is not None:
                envelope.reply.answer(self.probed())
                self.mailbox.control.remove(envelope)

    def probed(self) -> Probed:
        """How the actor is, as a `Probe` is answered."""
        busy = self.in_hand
        age = self.system.load.now() - self.hand_since if busy is not None else 0.0
        return Probed(
            state=self.state.value,
            handle_ms=round(age * 1000, 3),
            in_hand=type(busy.message).TYPE if busy is not None else "",
            waiting=len(self.mailbox.user),
        )

    def signal(self, signal: Signal[Any]) -> None:
        self.deliver(Envelope(signal))

    def abandoned(self, envelope: Envelope) -> None:
        """Nobody waits for this ask any more, nor wants what it does (§6 D3): drop it, or cancel its handler."""
        if envelope is self.in_hand and self.hand is not None:
            self.hand.cancel()
        for waiting in self.mailbox.withdraw(lambda waiting: waiting is envelope):
            self.undelivered(waiting, "abandoned", ActorStopped(self.address))

    def undelivered(self, envelope: Envelope, reason: str, fault: Exception) -> None:
        """A message nobody will handle (any more): tell its asker, and remember it as a dead letter."""
        envelope.left()
        if envelope.reply is not None:
            envelope.reply.fail(fault)
        self.system.dead_letters.add(self.system.clock.now(), self.address, envelope, reason)

    def _refusal(self, envelope: Envelope) -> Exception | None:
        if self.state is State.STOPPED:
            return ActorStopped(self.address)
        if isinstance(envelope.message, Signal):
            return None
        return Rejected(quarantined(self.address, max(0.0, self.past.quarantined_until - trio.current_time())))

    def _wake(self) -> None:
        self.asleep = False
        if self._parked is not None:
            trio.lowlevel.reschedule(self._parked)
            self._parked = None
        else:
            self._spawn()

    # --- what a parent does with it -----------------------------------------------------------

    def begin(self, *, at_once: bool = False) -> None:
        """Start an incarnation: at once if resident, with the next message if dormant unless told otherwise."""
        self.news = None
        if not self.spec.dormant:
            self.state = State.STARTING
            self._spawn()
        else:
            self.state = State.RUNNING
            self.asleep = True
            self.active_at = trio.current_time()
            if at_once or self.mailbox.pending:
                self._wake()

    async def start(self) -> None:
        """Begin, and wait until it runs. Raises StartFailed with what kept it from coming up."""
        if self.spec.dormant:
            self.begin()
            return
        self._up = Reply()
        self.begin()
        await self._up.wait()

    async def stop(self) -> None:
        """End this incarnation: in order within its budget, else by force. Whoever still starts is cancelled."""
        if self.running or self.actor is not None:  # else it waits for a restart, or its end is known
            over = self.end()
            if self.state is State.STARTING and self._scope is not None:
                self._scope.cancel()
            else:
                self.signal(Stop(reason="shutdown"))
            with trio.move_on_after(self._patience):
                await over.wait()
            if not over.is_set():
                self.kill()
                await over.wait()
        self.news = None

    def end(self) -> trio.Event:
        """Set when this incarnation is over."""
        if self._over is None:
            self._over = trio.Event()
        return self._over

    @property
    def _patience(self) -> float:
        """Seconds; a supervisor takes as long as its children do."""
        return float("inf") if self.actor is not None and self.actor.supervises else self.spec.shutdown

    def kill(self, reason: str = "killed") -> None:
        """Cancel whatever runs, children included. `on_stop` is not called."""
        children = self.children
        for child in children:
            child.kill(reason)
        if self._scope is not None:
            self._ends_as = reason
            self._scope.cancel()
        elif not children:
            self.system.broken(self, reason)
            self._drop_actor()  # it sleeps: only its state goes (§10.1 V4)
        else:
            self.asleep = False
            self._spawn().cancel()

    def pause(self, state: State) -> None:
        """Between two incarnations: the mailbox fills, nobody serves it."""
        self.state = state
        self.asleep = False
        self.news = None

    def shelve(self) -> None:
        """An operator stopped it: the address stays, whoever waits is told."""
        self.pause(State.STOPPED)
        for envelope in self.mailbox.clear():
            self.undelivered(envelope, "stopped", ActorStopped(self.address))
        self.system.down(self, "shutdown")

    def close(self, reason: str) -> None:
        """Leave the registry for good: the mailbox is emptied, watchers are told."""
        self.state = State.STOPPED
        self.asleep = False
        if self.past.due is not None:
            self.past.due.cancel()
        self._drop_actor()
        self.system.forget(self)
        for envelope in self.mailbox.forget_signals() + self.mailbox.clear():
            self.undelivered(envelope, "stopped", ActorStopped(self.address))
        self.system.broken(self, reason)
        self.system.down(self, reason)

    # --- one incarnation ----------------------------------------------------------------------

    def _spawn(self) -> trio.CancelScope:
        self._scope = trio.CancelScope()
        self._ends_as = "killed"
        self.system.spawn(self._live, self.address)
        return self._scope

    async def _live(self) -> None:
        assert self._scope is not None
        reason, error = "", None
        try:
            with self._scope:
                if self.actor is None:
                    await self._come_up()
                assert self.actor is not None
                reason = await self._serving(self.actor)
                if reason not in (ASLEEP, "passivated"):
                    await self._wind_up(self.actor, reason)
        except Exception as trouble:  # the supervisor's boundary: whatever a handler let out
            reason, error = "crash", trouble
        except BaseException:  # the whole house goes down: nobody may wait for our end
            self._gone()
            raise
        if reason == ASLEEP:
            if not self._scope.cancel_called:
                self._sleep()
                return
            reason = ""
        reason = reason or self._ends_as
        if error is not None and self.state is State.STARTING:
            reason, error = self.unborn(error)
        print_of = self._crashed(error) if error is not None else ""
        self.in_hand = None
        self.state = State.STOPPING
        await self._stop_children()
        self._ended(reason, error, print_of)

    def _sleep(self) -> None:
        self.active_at = trio.current_time()
        self._scope = None
        self.asleep = True
        if self.mailbox.pending:
            self._wake()
        else:
            self.mailbox.rest()

    def _serving(self, actor: Actor) -> Awaitable[str]:
        return serve(self, actor) if type(actor).live is Actor.live else self._serve_and_live(actor)

    async def _wind_up(self, actor: Actor, reason: str) -> None:
        """An orderly end: children first, then the actor's own clean-up."""
        self.state = State.STOPPING
        await self._stop_children()
        try:
            with trio.move_on_after(self.spec.shutdown):
                await actor.on_stop(Context(self), reason)
        except Exception:  # a failed clean-up must not hide the orderly end
            self.log.exception("actor.on_stop_failed")

    async def _serve_and_live(self, actor: Actor) -> str:
        """Handle messages beside the actor's own long work."""

        async def live() -> None:
            await actor.live(Context(self))
            self.signal(Stop(reason="normal"))

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(live)
                reason = await serve(self, actor)
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            if len(group.exceptions) == 1 and isinstance(group.exceptions[0], Exception):
                raise group.exceptions[0] from None
            raise
        return reason

    async def _come_up(self) -> None:
        self.state = State.STARTING
        self.incarnation += 1
        self.born_at = trio.current_time()
        self.mailbox.held = False
        actor = self.actor = self.make()
        self.mailbox.key = actor.coalesce if actor.overflow is Overflow.COALESCE else None
        for envelope in self.mailbox.resize(actor.capacity, actor.overflow):
            self.undelivered(envelope, "dropped_old", QueueDropped(self.address))
        with trio.fail_after(actor.start_within):
            await actor.on_start(Context(self))
        self.state = State.RUNNING
        if self._up is not None:
            self._up.answer(None)
            self._up = None
        self.system.happened("actor.restarted" if self.incarnation > 1 else "actor.started", self)
        if self.past.by:  # whoever asked for this start has no part in what follows
            self.past.by = ""
        if self.incarnation > 1:
            self.system.reborn(self)

    def make(self) -> Actor:
        return self.spec.start(*self.spec.args)

    def park(self, task: trio.lowlevel.Task) -> None:
        """`task` is about to wait for the next message."""
        self.asleep = True
        self._parked = task

    def unpark(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        """`task` is cancelled while it waits."""
        self.asleep = False
        self._parked = None
        return trio.lowlevel.Abort.SUCCEEDED

    # --- the end ------------------------------------------------------------------------------

    async def _stop_children(self) -> None:
        if self._family is not None:
            await self._family.stop_all()

    def unborn(self, error: Exception) -> tuple[str, Exception | None]:
        """`on_start` raised. Returns reason and error the incarnation ends with."""
        return "crash", error

    def _ended(self, reason: str, error: Exception | None, print_of: str) -> None:
        if self.past is not UNSCATHED and trio.current_time() - self.born_at >= self.spec.backoff.reset_after:
            self.past.streak = self.past.quarantines = 0
        crash = self.past.last_crash if error else None
        self.system.happened("actor.crashed" if error else "actor.stopped", self, reason=reason, crash=crash)
        self.system.broken(self, reason)
        self.news = ChildEnded(address=self.address, incarnation=self.incarnation, reason=reason, error=print_of)
        self._gone()
        if self._up is not None:
            self._up.fail(StartFailed(self.address, error or ActorStopped(f"{self.address}: {reason}")))
            self._up = None
        if self.parent is not None:
            self.parent.signal(self.news)
        else:
            self.system.root_ended(self.news)

    def _gone(self) -> None:
        self._scope = None
        self.in_hand = None
        self._drop_actor()
        if self._over is not None:
            self._over.set()
            self._over = None

    def _crashed(self, error: Exception) -> str:
        """Record a crash at once, before the children are stopped. Returns its fingerprint."""
        crash = crash_of(
            error,
            at=self.system.clock.now(),
            path=self.address,
            incarnation=self.incarnation,
            in_hand=type(self.in_hand.message).TYPE if self.in_hand else "",
            injected=error.plan if isinstance(error, InjectedFault) else "",
            queued=len(self.mailbox.user),
            lived=trio.current_time() - self.born_at,
        )
        self.history().remember(crash, self.in_hand.message if self.in_hand else None)
        self.system.crashes.add(crash)
        if self._up is None:  # otherwise the parent gets the error itself
            self.log.error(
                "actor.crashed", error=crash.message, fingerprint=crash.fingerprint, traceback=crash.traceback
            )
        return crash.fingerprint

    def _drop_actor(self) -> None:
        """What ends with an incarnation: state, children's book, timers, groups, most signals (§8.5)."""
        actor, self.actor = self.actor, None
        if actor is None:
            return
        try:
            actor.release()
        except Exception:  # a failed clean-up must not hide the end
            self.log.exception("actor.release_failed")
        self._family = None
        self.kept = False
        for timer in tuple(self.timers or ()):
            timer.cancel()
        self.timers = None
        for group in tuple(self.groups or ()):
            self.system.leave(group, self)
        self.groups = None
        # whoever waits for our end has got what its Stop was for
        kept = (Stop, Drain, LeaseLost) if self._over is None else (Drain, LeaseLost)
        for envelope in self.mailbox.forget_signals(*kept):
            if envelope.reply is not None:
                envelope.reply.fail(ActorStopped(self.address))
