"""What time it is. Contract: tools.md §10."""

from __future__ import annotations

from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta, Struct

from goclaw.tools.tool import Effect, ToolContext, ToolFailed, tool


class Datetime(Struct):
    timezone: Annotated[str, Meta(max_length=64, description="IANA name, such as Asia/Ho_Chi_Minh")] | None = None
    format: Annotated[Literal["iso", "unix", "human"], Meta(description="also as `text` in this form")] | None = None


@tool(group="automation", effect=Effect.PURE, name="datetime", parallel=True)
async def current(ctx: ToolContext, ask: Datetime) -> str:
    """Tell the current date, time and weekday."""
    name = ask.timezone or ctx.timezone
    now = ctx.now()
    try:
        here = now.astimezone(ZoneInfo(name) if name else None)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a directory of zones
        raise ToolFailed("invalid_args", f"there is no time zone {name!r}; use an IANA name") from None
    told = {
        "iso": here.isoformat(timespec="seconds"),
        "unix_ms": int(now.timestamp() * 1000),
        "weekday": here.strftime("%A"),
        "timezone": name or here.tzname(),
    }
    forms = {"iso": told["iso"], "unix": str(int(now.timestamp())), "human": f"{here:%A, %d %B %Y, %H:%M}"}
    return msgspec.json.encode(told | ({"text": forms[ask.format]} if ask.format else {})).decode()
