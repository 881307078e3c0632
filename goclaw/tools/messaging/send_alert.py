"""Telling the operators. Contract: tools.md §10."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from goclaw.tools.messaging.alerts import Alert, Alerts, Severity
from goclaw.tools.tool import Effect, ToolContext, tool


class SendAlert(Struct):
    severity: Severity
    title: Annotated[str, Meta(min_length=1, max_length=200)]
    body: Annotated[str, Meta(max_length=4000)]


@tool(group="messaging", effect=Effect.KEYED)
async def send_alert(ctx: ToolContext, ask: SendAlert, alerts: Alerts) -> str:
    """Alert the operators of this gateway: something they must know or do. At most 10 in 10 minutes."""
    alert = Alert(severity=ask.severity, title=" ".join(ask.title.split()), body=ask.body)
    id = await alerts.send(ctx.asker, alert, key=ctx.key)
    return msgspec.json.encode({"delivered": True, "message_id": id}).decode()
