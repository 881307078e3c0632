"""Who changed what, for people to read. Contract: observability.md §13."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from goclaw.runtime.message import Message
from goclaw.runtime.values import FrozenMap


class RecordActivity(Message[None]):
    """Write one line of history. `action` is what happened, as in `actor.restarted`; `details` ≤ 2 KiB, no secrets."""

    id: str
    at: datetime
    tenant_id: str
    actor_type: Literal["user", "agent", "system", "node", "api_key"]
    actor_id: str
    action: str
    entity_type: str
    entity_id: str
    details: FrozenMap[str, Any]
    ip_address: str = ""
