"""Where an agent works for whom. Contract: tools.md §9.1."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from goclaw.domain.access import MASTER_TENANT, SYSTEM_USER
from goclaw.domain.session import SessionKey

GROUP = "group:"  # begins the id of a group that is a user
TOPIC = re.compile(r":(?:topic|thread):[^:]*\Z")


class Sharing(Struct, frozen=True):
    """Who works in the agent's own directory instead of one beside the others."""

    shared_dm: bool = False
    shared_group: bool = False
    shared_users: tuple[str, ...] = ()


ALONE = Sharing()


def sharing_of(said: Mapping[str, Any] | None) -> Sharing:
    """What an agent's record says. One that cannot be read shares nothing."""
    try:
        return msgspec.convert(said or {}, Sharing)
    except msgspec.ValidationError:
        return ALONE


def group_of(key: SessionKey) -> str:
    """`<channel>:<chat>` of a group's session, whatever its topic or thread; empty for all others."""
    return TOPIC.sub("", key.rest.replace(":group:", ":", 1)) if key.group else ""


def place_of(root: Path, workspace: str, user_id: str, sharing: Sharing = ALONE, *, group: str = "") -> Path:
    """The directory of an agent for one user, or for a group (`<channel>:<chat>`): below its base directory.

    The installation's own user works in the base directory itself, as does who shares it. An absolute `workspace`
    replaces `root`.
    """
    base = root / workspace
    owner = f"{GROUP}{group}" if group else user_id
    shared = sharing.shared_group if owner.startswith(GROUP) else sharing.shared_dm
    alone = owner == SYSTEM_USER or shared or user_id in sharing.shared_users
    return base if alone else base / f"user_{file_name(owner)}"


HERE = "-"  # instead of the name of an owner's directory: the agent's own


def link_name(tenant_id: str, agent_key: str, base: Path, place: Path, path: str) -> str:
    """A file of the workspace `place` as `/v1/files/` names it: agent, owner's directory, path there.

    `base` is the agent's own directory. Empty if the workspace is not in it or one below.
    """
    if place != base and place.parent != base:
        return ""
    agent = agent_key if tenant_id == MASTER_TENANT else f"{agent_key}@{tenant_id}"
    return f"{agent}/{HERE if place == base else place.name}/{path}"


def file_name(id: str) -> str:
    """A name no two ids share: odd characters replaced, and 8 hex of the id's SHA-256."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", id)[:200]
    return f"{plain}-{hashlib.sha256(id.encode()).hexdigest()[:8]}"
