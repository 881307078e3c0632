"""What went wrong with actors, also before this start. Contract: edge-http.md §26.1, dashboard.md §7.4, §20."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct, field, to_builtins

from goclaw.domain.access import Role
from goclaw.operations.actor_sight import Sight
from goclaw.operations.actors import Name, Offset, Path, address_of
from goclaw.operations.context import Context
from goclaw.operations.operation import Http, operation
from goclaw.operations.params import moment
from goclaw.stores import actor_log
from goclaw.stores.actor_log import Cause, Entry, Event

PRIVATE = ("error_message", "in_hand_type", "by")

Moment = Annotated[datetime, Meta(tz=True)]


class ListCrashes(Struct, kw_only=True):
    """`path` is an actor and all below it; `from` counts, `to` does not."""

    ALIASES: ClassVar = {"of_class": "class", "since": "from", "until": "to"}

    path: Path | None = None
    of_class: Name | None = field(name="class", default=None)
    event: Event | None = None
    fingerprint: Annotated[str, Meta(pattern="^[0-9a-f]{16}$")] | None = None
    since: Moment | None = field(name="from", default=None)
    until: Moment | None = field(name="to", default=None)
    group: bool = False
    limit: Annotated[int, Meta(ge=1, le=500)] = 50
    offset: Offset = 0


@operation(Http("GET /v1/actor-crashes", Role.OPERATOR))
async def list_crashes(ctx: Context, ask: ListCrashes) -> dict[str, Any]:
    """List crashes, restarts and the like, newest first, or grouped by their cause, most frequent first."""
    sight = Sight(ctx)
    paging = {"limit": ask.limit, "offset": ask.offset}
    path = address_of(ask.path) if ask.path is not None else None
    named = path is not None and not sight.sees(path)  # the answer must not tell whose mask it is
    wanted = actor_log.Wanted(
        tenant=None if sight.unlimited else ctx.caller.tenant_id,
        path=path and str(path),
        of_class=ask.of_class,
        event=ask.event,
        fingerprint=ask.fingerprint,
        since=moment("from", ask.since),
        until=moment("to", ask.until),
    )
    if ask.group:
        causes = await ctx.db(actor_log.causes, wanted, **paging)
        if named:
            causes = [one for one in causes if _saw_all(one, sight)]
        return {"groups": [_cause(one, sight) for one in causes], **paging}
    entries = await ctx.db(actor_log.page, wanted, **paging)
    if named:
        entries = [one for one in entries if sight.saw(one.path, one.tenant_id)]
    return {"crashes": [_crash(one, sight, traced=ctx.caller.is_admin) for one in entries], **paging}


def _crash(entry: Entry, sight: Sight, *, traced: bool) -> dict[str, Any]:
    shown: dict[str, Any] = to_builtins(entry)
    del shown["tenant_id"]
    if not traced:
        del shown["traceback"]
    if not sight.saw(entry.path, entry.tenant_id):
        shown |= {"path": sight.mask(entry.path), "redacted": True, **dict.fromkeys(PRIVATE)}
        shown.pop("traceback", None)
        if entry.supervisor is not None:
            shown["supervisor"] = sight.name(entry.supervisor)
    return shown


def _cause(cause: Cause, sight: Sight) -> dict[str, Any]:
    shown: dict[str, Any] = to_builtins(cause)
    del shown["actors"], shown["said_by"]
    known = [sight.saw(path, tenant) for path, tenant in cause.actors]
    shown["paths"] = [path if sees else sight.mask(path) for (path, _), sees in zip(cause.actors, known, strict=True)]
    if not sight.saw(*cause.said_by):
        shown["error_message"] = None
    if not _saw_all(cause, sight):
        shown["redacted"] = True
    return shown


def _saw_all(cause: Cause, sight: Sight) -> bool:
    return all(sight.saw(path, tenant) for path, tenant in (*cause.actors, cause.said_by))
