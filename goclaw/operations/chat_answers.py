"""A yes or no in the chat where an agent asked: `CODE yes`, `CODE always`, `CODE no`; bare `1` and `2` for the newest.

What answers nothing that was asked in this chat is text for the agent. Contract: tools.md §12.3.
"""

from __future__ import annotations

import re
from typing import Literal

from goclaw.domain.address import APPROVALS
from goclaw.domain.approval import Answer, ListPending, Pending
from goclaw.domain.delivery import NEVER
from goclaw.domain.errors import Rejected, approval_gone
from goclaw.domain.mention import CHATS
from goclaw.domain.session import SessionKey, parse_key
from goclaw.operations.approvals import ASK
from goclaw.operations.command_reply import CommandReply, say
from goclaw.operations.context import Context
from goclaw.operations.turns import resolve_agent
from goclaw.stores import approvals as rows

Said = Literal["yes", "always", "no"]

CODED = re.compile(r"([A-HJ-NP-Z2-9]{6})[ \t]+(yes|always|no)\Z", re.IGNORECASE | re.ASCII)
BARE: dict[str, Said] = {"1": "yes", "2": "no"}
TOLD = {"yes": "approved", "always": "approved_always", "no": "denied"}


async def answered_in_chat(ctx: Context, text: str, key: SessionKey) -> CommandReply | None:
    """What became of an answer. None: it is none. Of a code that somebody else was first with: `approval_gone`."""
    text = text.strip()
    coded = CODED.match(text)
    if not (coded or text in BARE) or ctx.caller.agent_id or key.kind not in CHATS:
        return None
    if not ctx.house.settings.tools.exec_approval.asks:
        return None
    if coded is None:
        newest = await _newest(ctx, key)
        return await _answer(ctx, key, newest, BARE[text], newest.code) if newest is not None else None
    code, said = coded[1].upper(), coded[2].lower()
    asked = await ctx.db(rows.coded, tenant=ctx.caller.tenant_id, code=code)
    if asked is None or not _here(asked, key):
        return None
    if asked.status != "pending" or not await _may(ctx, asked, key):
        raise Rejected(approval_gone(code))
    return await _answer(ctx, key, asked, said, code)  # type: ignore[arg-type]  # CODED says which


async def _newest(ctx: Context, key: SessionKey) -> Pending | None:
    """Whoever may not answer it has said a number to the agent."""
    waiting = await ctx.ask(APPROVALS, ListPending(tenant_id=ctx.caller.tenant_id, user_id=None), within=ASK)
    newest = next((one for one in reversed(waiting) if _here(one, key)), None)
    return newest if newest is not None and await _may(ctx, newest, key) else None


def _here(asked: Pending, key: SessionKey) -> bool:
    """In this chat, whichever of its agents asked."""
    return parse_key(asked.session_key).rest == key.rest


async def _may(ctx: Context, asked: Pending, key: SessionKey) -> bool:
    """On a platform the asking user is only one of those who write; at our own door the run is his."""
    if ctx.caller.is_admin:
        return True
    approvers = ctx.house.settings.tools.exec_approval.approvers
    if approvers:
        return ctx.user_id in approvers
    if (key.channel in NEVER or key.kind == "main") and asked.user_id == ctx.user_id:
        return True
    return (await resolve_agent(ctx, asked.agent_key)).owner_id == ctx.user_id


async def _answer(ctx: Context, key: SessionKey, asked: Pending, said: Said, code: str) -> CommandReply:
    answer = Answer(
        id=asked.id,
        tenant_id=ctx.caller.tenant_id,
        user_id=None,
        by=ctx.user_id,
        allow=said != "no",
        always=said == "always",
    )
    await ctx.ask(APPROVALS, answer, within=ASK)
    command = "deny" if said == "no" else "approve"
    return CommandReply(command=command, session_key=str(key), content=say(ctx, TOLD[said], id=code))
