"""Which conversations an agent's tools may touch: its own. Who it is must be known; nothing is guessed.

What its user may see of them is for the house to say (`Methods`). Contract: tools.md §10.
"""

from __future__ import annotations

from typing import Any

from goclaw.domain.session import SessionKey, parse_key
from goclaw.tools.methods import Methods
from goclaw.tools.tool import ToolContext, ToolFailed

PAGE = 200  # rows of a list at a time
PAGES = 20


def agent_of(ctx: ToolContext) -> str:
    """Raises ToolFailed when nobody knows whose tool this is."""
    if not ctx.asker.agent_key or not ctx.asker.user_id:
        raise ToolFailed("unavailable", "this run belongs to no agent, so it has no sessions")
    return ctx.asker.agent_key


def own_key(ctx: ToolContext, text: str) -> SessionKey:
    """Raises ToolFailed for a session of another agent, in the words of one that is not there."""
    agent = agent_of(ctx)
    try:
        key = parse_key(text)
    except ValueError as error:
        raise ToolFailed("invalid_args", f"key: {error}") from None
    if key.agent_key != agent:
        raise missing(text)
    return key


def missing(key: str) -> ToolFailed:
    return ToolFailed("not_found", f"there is no session {key[:200]}; sessions_list shows yours")


async def row_of(ctx: ToolContext, key: str, methods: Methods) -> dict[str, Any]:
    """What the list of sessions says of one. Raises ToolFailed."""
    wanted = {"agentId": agent_of(ctx), "userId": ctx.asker.user_id, "search": key[:200], "limit": PAGE}
    for page in range(PAGES):
        said = await methods.call(ctx.asker, "sessions.list", {**wanted, "offset": page * PAGE})
        for row in said["sessions"]:
            if row["key"] == key:
                return dict(row)
        if len(said["sessions"]) < PAGE:
            break
    raise missing(key)
