"""The life of a run, or of all runs of a session, as one list to read. Contract: edge-websocket.md §7.2."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct

from goclaw.domain.access import Role
from goclaw.domain.errors import Rejected, not_found, required
from goclaw.operations.context import Context
from goclaw.operations.operation import Rpc, operation
from goclaw.operations.runs import run_seen
from goclaw.operations.sessions import session_seen
from goclaw.security.scrub import scrubbed
from goclaw.stores.run_timeline import Moment, timeline

MOST = 500  # items of a page
DEEPEST = 10_000  # items that can be paged through
PREVIEW = 200  # characters of an item's text

ItemType = Literal["activity", "assistant.message", "tool.call", "tool.result", "run.status"]


class Item(Struct, kw_only=True):
    id: str
    run_id: str
    session_key: str
    seq: int  # place in this list
    item_type: ItemType
    status: str
    title: str
    preview: str
    created_at: datetime


class Items(Struct, kw_only=True):
    items: list[Item]
    limit: int
    offset: int


class GetTimeline(Struct, kw_only=True):
    ALIASES: ClassVar = {"session_id": "session_key"}

    run_id: str | None = None
    session_key: str | None = None
    limit: Annotated[int, Meta(ge=1)] = 200
    offset: Annotated[int, Meta(ge=0, le=DEEPEST)] = 0


@operation(Rpc("run.timeline.get", Role.VIEWER))
async def get_timeline(ctx: Context, ask: GetTimeline) -> Items:
    """Read what happened in a run, or in the runs of a session: states, messages, tools, oldest first."""
    run_id, key = ask.run_id, ask.session_key
    if run_id is not None:
        row = await run_seen(ctx, run_id)
        if key not in (None, row.session_key):
            raise Rejected(not_found("run", row.run_id))
        run_id, key = row.run_id, row.session_key
    elif key is not None:
        await session_seen(ctx, key)
    else:
        raise Rejected(required("session_key"))
    limit = min(ask.limit, MOST)
    # every moment makes at least one item, so this many are enough
    rows = await ctx.db(timeline, tenant=ctx.caller.tenant_id, key=key, run_id=run_id, limit=ask.offset + limit)
    items = [item for row in rows for item in _items(row)]
    page = items[ask.offset : ask.offset + limit]
    for place, item in enumerate(page, ask.offset):
        item.seq = place
    return Items(items=page, limit=limit, offset=ask.offset)


def _items(moment: Moment) -> Iterator[Item]:
    if moment.step_no is None:
        changes = moment.state is not None
        status = (moment.state or moment.kind).lower()
        yield _item(moment, "run.status" if changes else "activity", status, moment.kind, moment.reason or "")
        return
    message = scrubbed(moment.body)
    text, calls = str(message.get("content") or ""), message.get("tool_calls") or ()
    if moment.kind == "tool":
        failed = "failed" if message.get("is_error") else "completed"
        yield _item(moment, "tool.result", failed, str(message.get("tool_name") or ""), text)
    elif moment.kind != "llm":
        yield _item(moment, "activity", "completed", moment.kind, text)
    elif text or not calls:
        yield _item(moment, "assistant.message", "completed", "", text)
    for call in calls:
        yield _item(moment, "tool.call", "completed", str(call["name"]), _text(call.get("arguments")), str(call["id"]))


def _item(moment: Moment, type: ItemType, status: str, title: str, preview: str, part: str = "") -> Item:
    place = f"e{moment.seq}" if moment.step_no is None else f"s{moment.step_no}"
    return Item(
        id=":".join(filter(None, (moment.run_id, place, part))),
        run_id=moment.run_id,
        session_key=moment.session_key,
        seq=0,
        item_type=type,
        status=status,
        title=title,
        preview=preview[:PREVIEW],
        created_at=moment.at,
    )


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
