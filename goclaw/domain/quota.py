"""How many turns a user or a group has had, and whether one more is allowed. Contract: sessions-lanes-cron.md §8.1."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from goclaw.domain.errors import Err
from goclaw.domain.run import RunKind
from goclaw.domain.session import SessionKey
from goclaw.runtime.message import Message

Window = Literal["hour", "day", "week"]
SECONDS: dict[Window, int] = {"hour": 3600, "day": 86_400, "week": 604_800}  # in the order they are looked at
FREE: frozenset[RunKind] = frozenset(
    {"subagent", "delegation", "heartbeat", "replay", "announce", "summary", "flush", "selfcheck", "autolearn"}
)  # nobody asked for them, or their parent was counted; Q8.5


class Payer(Struct, frozen=True):
    """Whose turns are counted together: a user, or with `group` a chat of many, `channel:chat`."""

    tenant_id: str
    name: str
    group: bool = False

    @property
    def shown(self) -> str:
        return f"group:{self.name}" if self.group else self.name


def payer_of(tenant_id: str, key: SessionKey, user_id: str) -> Payer:
    if not key.group:
        return Payer(tenant_id, user_id)
    channel, _, chat = key.rest.split(":")[:3]
    return Payer(tenant_id, f"{channel}:{chat}", group=True)


class TakeTurn(Message[bool]):
    """To the quota: one more turn, before it is stored. Refused with `quota_exceeded`."""

    payer: Payer
    run_id: str
    channel: str = ""
    provider: str = ""


class GiveTurnBack(Message[None]):
    """The turn did not become a run after all."""

    payer: Payer
    run_id: str


def exceeded(window: Window, used: int, limit: int, retry_after: float) -> Err:
    details = {"reason": "quota", "used": used, "limit": limit, "window": window}
    return Err("RESOURCE_EXHAUSTED", "quota_exceeded", details, retry_after=retry_after)
