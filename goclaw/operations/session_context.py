"""How full the window of a conversation's model is. Contract: agent-loop.md §20."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from goclaw.domain.access import Role
from goclaw.domain.context_use import GetContextUse
from goclaw.operations.context import Context
from goclaw.operations.operation import Cli, Http, Rpc, operation
from goclaw.operations.session_changes import ask_session
from goclaw.operations.sessions import session_seen

PARTS = ("soul", "memory", "pins", "shared", "summary", "messages", "tools", "output")


class SessionContext(Struct, kw_only=True):
    ALIASES: ClassVar = {"session_key": "key"}

    key: str


class Use(Struct, kw_only=True):
    """In tokens; all but `window` add up to it."""

    key: str
    window: int
    soul: int
    memory: int
    pins: int
    shared: int
    summary: int
    messages: int
    tools: int
    output: int
    free: int
    low: bool


@operation(
    Rpc("sessions.context", Role.VIEWER), Http("GET /v1/sessions/{key}/context", Role.VIEWER), Cli("sessions context")
)
async def context(ctx: Context, ask: SessionContext) -> Use:
    """What fills the window of a conversation's model, as its next turn would find it."""
    await session_seen(ctx, ask.key)
    use = await ask_session(ctx, ask.key, GetContextUse(user_id=ctx.user_id, as_admin=ctx.caller.is_admin))
    return Use(
        key=ask.key,
        window=use.window,
        free=use.free,
        low=use.low,
        **{name: getattr(use, name) for name in PARTS},
    )
