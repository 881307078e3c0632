"""The living tree, for operators: acting. Contract: edge-http.md §26 (Rules), dashboard.md §7.6.

Whoever names the incarnation it saw acts on that one or on none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from goclaw.domain.access import Role
from goclaw.domain.address import CONNECTIONS, LISTENER
from goclaw.domain.errors import Rejected, failed_precondition, forbidden
from goclaw.operations.activity import by, record, recorded
from goclaw.operations.actor_sight import Sight, of_one_tenant
from goclaw.operations.actors import Path, address_of, unknown
from goclaw.operations.context import Context
from goclaw.operations.operation import Cli, Http, Rpc, operation
from goclaw.runtime import steer
from goclaw.runtime.address import Address
from goclaw.runtime.cell import Cell
from goclaw.runtime.child import Restart, State
from goclaw.runtime.crash import size_of
from goclaw.runtime.lens import RECORDS, SECONDS, Seen, tapped
from goclaw.runtime.message import Message
from goclaw.runtime.values import plain
from goclaw.security.scrub import scrubbed

Reason = Annotated[str, Meta(max_length=500)]
Incarnation = Annotated[int, Meta(ge=0)] | None

BODY = 65_536  # bytes of a message a trace shows


class Order(Struct, kw_only=True):
    path: Path
    mode: Literal["graceful", "kill"] = "graceful"
    timeout_ms: Annotated[int, Meta(ge=0, le=60_000)] = 5000
    reason: Reason = ""
    incarnation: Incarnation = None


class Hold(Struct, kw_only=True):
    path: Path
    reason: Reason = ""
    incarnation: Incarnation = None


class ProbeActor(Struct, kw_only=True):
    path: Path
    timeout_ms: Annotated[int, Meta(ge=1, le=3000)] = 1000


class Trace(Struct, kw_only=True):
    path: Path
    count: Annotated[int, Meta(ge=1, le=RECORDS)] = 100
    seconds: Annotated[float, Meta(ge=1, le=SECONDS)] = 10.0
    include_body: bool = False
    reason: Reason = ""
    incarnation: Incarnation = None


class Ordered(Struct, kw_only=True, omit_defaults=True):
    """What is going to happen; with `state`, what is so already. `incarnation` is the one that ends."""

    path: str
    action: str
    incarnation: int | None = None
    virtual: bool = False
    state: str = ""


class ProbeResult(Struct, kw_only=True):
    """Milliseconds. Not `ok`: no answer in time."""

    ok: bool
    wait_ms: float
    handle_ms: float


@operation(
    Rpc("actors.restart", Role.ADMIN),
    Http("POST /v1/actors/{path...}/restart", Role.ADMIN, status=202),
    Cli("actors restart"),
)
@recorded
async def restart(ctx: Context, ask: Order) -> Ordered:
    """Let an actor start afresh, also out of quarantine. It is killed if it does not end in time."""
    cell = _target(ctx, ask.path, ask.incarnation)
    if cell.spec.restart is Restart.TEMPORARY:
        raise Rejected(failed_precondition("temporary", path=str(cell.address)))
    kill, within = ask.mode == "kill", ask.timeout_ms / 1000
    ends = steer.restart(ctx.system, cell.address, kill=kill, within=within, by=by(ctx))
    await _record(ctx, "actor.restarted", cell, ask.reason, mode=ask.mode)
    return Ordered(path=str(cell.address), action="restart", incarnation=ends)


@operation(
    Rpc("actors.stop", Role.ADMIN),
    Http("POST /v1/actors/{path...}/stop", Role.ADMIN, status=202),
    Cli("actors stop"),
)
@recorded
async def stop(ctx: Context, ask: Order) -> Ordered:
    """End an actor until somebody restarts it. A virtual one comes back with its next message."""
    cell = _target(ctx, ask.path, ask.incarnation)
    path, incarnation = str(cell.address), cell.incarnation
    if cell.state is State.STOPPED:
        return Ordered(path=path, action="stop", incarnation=incarnation, state=cell.state.value)
    steer.stop(ctx.system, cell.address, kill=ask.mode == "kill", within=ask.timeout_ms / 1000, by=by(ctx))
    await _record(ctx, "actor.killed" if ask.mode == "kill" else "actor.stopped", cell, ask.reason, mode=ask.mode)
    return Ordered(path=path, action="stop", incarnation=incarnation, virtual=cell.perpetual)


@operation(Http("POST /v1/actors/{path...}/suspend", Role.ADMIN, status=202))
@recorded
async def suspend(ctx: Context, ask: Hold) -> Ordered:
    """Let an actor's messages wait; control is still served."""
    cell = _living(ctx, ask)
    steer.suspend(ctx.system, cell.address)
    await _record(ctx, "actor.suspended", cell, ask.reason)
    return Ordered(path=str(cell.address), action="suspend", incarnation=cell.incarnation)


@operation(Http("POST /v1/actors/{path...}/resume", Role.ADMIN, status=202))
@recorded
async def resume(ctx: Context, ask: Hold) -> Ordered:
    """Let an actor serve its messages again."""
    cell = _living(ctx, ask)
    steer.resume(ctx.system, cell.address)
    await _record(ctx, "actor.resumed", cell, ask.reason)
    return Ordered(path=str(cell.address), action="resume", incarnation=cell.incarnation)


@operation(Http("POST /v1/actors/{path...}/probe", Role.OPERATOR))
async def probe(ctx: Context, ask: ProbeActor) -> ProbeResult:
    """Ask an actor for a sign of life."""
    cell = _cell(ctx, ask.path)
    answer = await steer.probe(ctx.system, cell.address, ask.timeout_ms / 1000)
    if answer is None:
        age = ctx.system.load.now() - cell.hand_since if cell.in_hand is not None else 0.0
        return ProbeResult(ok=False, wait_ms=float(ask.timeout_ms), handle_ms=round(age * 1000, 3))
    probed, waited = answer
    return ProbeResult(ok=True, wait_ms=round(waited * 1000, 3), handle_ms=probed.handle_ms)


async def trace(ctx: Context, ask: Trace) -> AbstractAsyncContextManager[AsyncIterator[Seen]]:
    """The next messages of an actor, as they are handled. For the one surface that streams them."""
    cell = _cell(ctx, ask.path)
    _check_incarnation(cell, ask.incarnation)
    if ask.include_body and not (ctx.caller.is_owner or of_one_tenant(cell.address)):
        raise Rejected(forbidden("shared_actor"))
    await _record(ctx, "actor.traced", cell, ask.reason, count=ask.count, include_body=ask.include_body)
    return tapped(ctx.system, cell.address, ask.count, ask.seconds)


def envelope(seen: Seen, ask: Trace, sight: Sight) -> dict[str, Any]:
    """What a trace shows of one message. Its body only on demand, scrubbed, and none if it never travels."""
    shown: dict[str, Any] = {
        "at": seen.at,
        "type": seen.type,
        "from": sight.name(seen.sender) if seen.sender else None,
        "kind": seen.kind,
        "wait_ms": seen.wait_ms,
        "handle_ms": seen.handle_ms,
        "outcome": seen.outcome,
    }
    if ask.include_body:
        shown["body"] = _body(seen.body)
    return shown


def _body(message: Message[Any]) -> Any:
    if not 0 < size_of(message) <= BODY:
        return None
    try:
        return scrubbed(_opened(msgspec.to_builtins(message, enc_hook=plain, str_keys=True)))
    except RecursionError:  # nested too deep to look for secrets in it
        return None


def _opened(value: Any) -> Any:
    """JSON data with the JSON objects in its texts read, so that scrubbing reaches them."""
    match value:
        case dict():
            return {name: _opened(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_opened(inner) for inner in value]
        case str() if value.lstrip().startswith("{"):
            try:
                return _opened(msgspec.json.decode(value))
            except (msgspec.DecodeError, UnicodeError):
                return value
    return value


def _cell(ctx: Context, path: str) -> Cell:
    address = address_of(path)
    member = ctx.system.members.get(address)
    if member is None or not Sight(ctx).sees(address):
        raise unknown(ctx, address)
    if not isinstance(member, Cell):  # a connection or request: no loop of its own to steer
        raise Rejected(failed_precondition("no_actor", path=str(address)))
    return member


def _target(ctx: Context, path: str, incarnation: int | None) -> Cell:
    """An actor that may be acted upon. Refuses what holds the house and the caller's own way in."""
    address = address_of(path)
    own = bool(ctx.connection_id) and address == CONNECTIONS / ctx.connection_id
    if address in (Address(), LISTENER) or address.count("/") == 1 or own:
        if address not in ctx.system.members:
            raise unknown(ctx, address)
        raise Rejected(forbidden("own_connection" if own else "protected"))
    cell = _cell(ctx, path)
    _check_incarnation(cell, incarnation)
    return cell


def _living(ctx: Context, ask: Hold) -> Cell:
    cell = _target(ctx, ask.path, ask.incarnation)
    if not cell.alive:
        raise Rejected(failed_precondition("not_running", path=str(cell.address), state=cell.state.value))
    return cell


def _check_incarnation(cell: Cell, seen: int | None) -> None:
    if seen is not None and seen != cell.incarnation:
        changed = failed_precondition("incarnation_changed", path=str(cell.address), incarnation=cell.incarnation)
        raise Rejected(changed)


async def _record(ctx: Context, action: str, cell: Cell, reason: str, **more: Any) -> None:
    details = {"path": str(cell.address), "incarnation": cell.incarnation, **more}
    if reason:
        details["reason"] = reason
    await record(ctx, action, "actor", str(cell.address), **details)
