"""The loop of a living actor: one message after the other, control first. Contract: supervision.md §4.3, §5."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import trio

from goclaw.runtime.actor import Actor, Context, Handler
from goclaw.runtime.child import State
from goclaw.runtime.crash import fingerprint
from goclaw.runtime.faults import (
    ActorCrashed,
    ActorStopped,
    AskTimeout,
    Err,
    LinkBroken,
    NoSuchActor,
    Rejected,
    cancelled,
)
from goclaw.runtime.latency import Latency
from goclaw.runtime.message import (
    Cancel,
    ChildEnded,
    Envelope,
    LeaseLost,
    LinkExit,
    Passivate,
    Probe,
    RestartDue,
    Resume,
    Signal,
    Stop,
    Suspend,
)

if TYPE_CHECKING:
    from goclaw.runtime.cell import Cell

BUDGET = 64  # messages handled between two checkpoints; supervision.md §10.1 V1
PASSIVATE = 5.0  # seconds for `on_passivate`; §7
OUTAGE = object()  # stands for the answer of a handler that met an outage
ASLEEP = "asleep"  # not an end: the task of a dormant actor goes, its incarnation stays
OBEYED = frozenset({Stop, Suspend, Resume, Cancel, LeaseLost, Probe, Passivate, RestartDue, ChildEnded, LinkExit})


async def serve(cell: Cell, actor: Actor) -> str:
    """Handle messages until there is a reason to end, and return it. Raises what a handler raised."""
    mailbox, table, system = cell.mailbox, actor.table(), cell.system
    while True:
        for _ in range(BUDGET):
            envelope = mailbox.take()
            if envelope is None:
                break
            if type(envelope) is not Envelope and not _still_wanted(cell, envelope):
                continue
            kind = type(envelope.message)
            if kind in OBEYED:
                if (reason := await _obey(cell, actor, envelope)) is not None:
                    return reason
            elif (handler := table.get(kind)) is not None:
                if cell.past.poison is not None and cell.past.poisoned(envelope.message):
                    _poison(cell, envelope)
                elif handler[1] or system.lens is not None:
                    await _handle(cell, actor, handler, envelope)
                else:
                    _do(cell, actor, handler[0], envelope)
            elif not isinstance(envelope.message, Signal):
                nobody = NoSuchActor(f"{cell.address} does not handle {kind.TYPE}")
                cell.undelivered(envelope, "not_handled", nobody)
            elif envelope.reply is not None:
                envelope.reply.answer(None)
        else:
            await trio.lowlevel.checkpoint()
            continue
        if cell.spec.dormant:
            return ASLEEP
        cell.park(trio.lowlevel.current_task())
        await trio.lowlevel.wait_task_rescheduled(cell.unpark)


def _still_wanted(cell: Cell, envelope: Envelope) -> bool:
    if envelope.deadline < trio.current_time():
        cell.mailbox.expired += 1
        cell.undelivered(envelope, "expired", AskTimeout(f"{cell.address}: expired in the mailbox"))
        return False
    return envelope.left()


async def _obey(cell: Cell, actor: Actor, envelope: Envelope) -> str | None:
    """Do what a signal of the runtime says. Returns the reason to end, if it is one."""
    reason: str | None = None
    match envelope.message:
        case Stop() as stop:
            reason = stop.reason
        case Suspend():
            cell.state, cell.mailbox.held = State.SUSPENDED, True
        case Resume():
            cell.state, cell.mailbox.held = State.RUNNING, False
        case Passivate() if not cell.engaged:
            with trio.move_on_after(PASSIVATE):
                if await actor.on_passivate(Context(cell)):
                    reason = "passivated"
        case Cancel(of=of):
            for waiting in cell.mailbox.withdraw(lambda waiting: bool(of) and waiting.message.subject == of):
                cell.undelivered(waiting, "cancelled", Rejected(cancelled()))
            if (handler := actor.table().get(Cancel)) is not None:
                await _handle(cell, actor, handler, envelope)
        case LeaseLost():
            cell.kill("lease_lost")
            await trio.lowlevel.checkpoint()
        case Probe():
            if envelope.reply is not None:
                envelope.reply.answer(cell.probed())
            return None
        case LinkExit(address=address, reason=why):
            if not actor.trap_links:
                raise LinkBroken(address, why)
            if (handler := actor.table().get(LinkExit)) is not None:
                await _handle(cell, actor, handler, envelope)
        case RestartDue(address=address, asked=asked):
            await cell.family.restart(address, asked=asked)
        case ChildEnded() as news if (child := cell.family.author(news)) is not None:
            if await cell.family.ended(child, news):
                reason = "normal"
            elif (handler := actor.table().get(ChildEnded)) is not None:
                await _handle(cell, actor, handler, envelope)
    if envelope.reply is not None:
        envelope.reply.answer(None)
    return reason


def _do(cell: Cell, actor: Actor, method: Callable[..., Any], envelope: Envelope) -> None:
    """Call a handler that never waits, while nobody looks on: the short way of `_handle`."""
    cell.in_hand = envelope
    timed = envelope.since is not None
    if timed:
        cell.hand_since = cell.system.load.now()
    try:
        result = method(actor, Context(cell, envelope), envelope.message)
    except Exception as error:
        result = _trouble(cell, actor, envelope, error)
    if timed:
        _measure(cell, envelope)
    _done(cell, envelope, result)


async def _handle(cell: Cell, actor: Actor, handler: Handler, envelope: Envelope) -> None:
    method, waits = handler
    lens = cell.system.lens
    cell.in_hand = envelope
    cell.hand_since = cell.system.load.now()
    outcome = "failed"
    try:
        if lens is not None and not await lens.before(cell, envelope):
            outcome = "dropped"
            cell.in_hand = None
            return
        result = method(actor, Context(cell, envelope), envelope.message)
        if waits:
            scoped = actor.preemptible or envelope.message.CANCEL_WITH_ASKER
            result = await (_preemptibly(cell, result) if scoped else result)
        if lens is not None:
            lens.after(cell, envelope)
        outcome = "refused" if isinstance(result, Err) else "handled"
    except Exception as error:
        result = _trouble(cell, actor, envelope, error)
        outcome = "outage" if result is OUTAGE else "refused"
    except BaseException:  # killed in the middle: the asker must not wait for its deadline
        outcome = "cancelled"
        cell.undelivered(envelope, "stopped", ActorStopped(cell.address))
        raise
    finally:
        _measure(cell, envelope)
        if lens is not None:
            lens.seen(cell, envelope, outcome)
    _done(cell, envelope, result)


def _trouble(cell: Cell, actor: Actor, envelope: Envelope, error: Exception) -> object:
    """What a handler raised: the refusal to answer with, OUTAGE if that was told already, else it is a crash."""
    if isinstance(error, Rejected) and envelope.reply is not None:  # else nobody expected this refusal
        return error.err
    cell.failed += 1
    if isinstance(error, actor.weather) and not isinstance(error, Rejected):
        if envelope.reply is None:
            cell.log.warning("actor.outage", type=type(envelope.message).TYPE, error=str(error))
        cell.undelivered(envelope, "outage", error)
        return OUTAGE
    crashed = ActorCrashed(cell.address, fingerprint(error), retryable=envelope.message.IDEMPOTENT)
    cell.undelivered(envelope, "crashed_handler", crashed)
    raise error


def _done(cell: Cell, envelope: Envelope, result: object) -> None:
    cell.in_hand = None
    if result is OUTAGE:
        return
    cell.handled += 1
    if envelope.reply is not None:
        cell.replies += 1
        if not envelope.reply.answer(result):
            cell.system.dead_letters.add(cell.system.clock.now(), cell.address, envelope, "late_reply")


def _measure(cell: Cell, envelope: Envelope) -> None:
    now = cell.system.load.now()
    if cell.latency is None:
        cell.latency = Latency(now)
    wait = cell.hand_since - envelope.since if envelope.since is not None else None
    cell.latency.add(wait, now - cell.hand_since, now)


async def _preemptibly(cell: Cell, handling: Awaitable[Any]) -> Any:
    """What the handler returns, or a refusal if a `Cancel` arrived meanwhile."""
    with trio.CancelScope() as cell.hand:
        try:
            return await handling
        finally:
            cell.hand = None
    return cancelled()


def _poison(cell: Cell, envelope: Envelope) -> None:
    """Two incarnations died of it: nobody touches it again (§8.5)."""
    cell.failed += 1
    crash = cell.past.last_crash
    cell.undelivered(envelope, "poison", ActorCrashed(cell.address, crash.fingerprint if crash else ""))
