"""Who asks, and how much they may. Contract: edge-auth.md §5, §6."""

from __future__ import annotations

import re
from enum import IntEnum

from msgspec import Struct

MASTER_TENANT = "0193a5b0-7000-7000-8000-000000000001"
USER_ID_CHARS = 255
UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
SYSTEM_USER = "system"  # who a caller with the gateway token is, unless it names somebody


class Role(IntEnum):
    """Each role may do all that the ones below it may."""

    ANYONE = 0
    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3

    @property
    def label(self) -> str:
        return self.name.lower()


class Caller(Struct, frozen=True, kw_only=True):
    """An authenticated request. `user_id` may be empty on a socket until a method needs it."""

    tenant_id: str = MASTER_TENANT
    tenant_slug: str = "master"
    tenant_name: str = "Master"
    user_id: str = ""
    agent_id: str = ""  # of the agent that asks for the user, through a tool
    role: Role = Role.ANYONE
    is_owner: bool = False
    locale: str = "en"

    @property
    def is_admin(self) -> bool:
        return self.role >= Role.ADMIN


def valid_user_id(text: str) -> bool:
    """1–255 characters, none of them a control character, a line break or half of a pair; not only spaces."""
    return 0 < len(text) <= USER_ID_CHARS and UNFIT.search(text) is None and bool(text.strip())
