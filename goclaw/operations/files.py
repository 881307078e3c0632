"""Which workspace a file of `/v1/files/` lies in, for a link or for a caller. Contract: edge-http.md §19."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from goclaw.domain.access import MASTER_TENANT, SYSTEM_USER
from goclaw.domain.address import agent as agent_address
from goclaw.domain.agent import AgentProfile, GetProfile
from goclaw.domain.errors import Rejected, not_found
from goclaw.domain.workspace import HERE, place_of
from goclaw.operations.context import Context
from goclaw.operations.turns import NAME, resolve_agent
from goclaw.security.paths import Workspace

OWNER = re.compile(r"user_[A-Za-z0-9_-]{1,220}\Z", re.ASCII)  # of a directory beside others (tools.md §9.1)


@dataclass(frozen=True)
class Place:
    workspace: Workspace
    path: str  # in it


async def place_of_link(ctx: Context, segments: Sequence[str]) -> Place:
    """Of a name whose signature was checked. Raises `Rejected`."""
    named, owner, path = _split(segments)
    key, _, tenant = named.partition("@")
    if not NAME.match(key):
        raise _missing(segments)
    profile = await ctx.ask(agent_address(tenant or MASTER_TENANT, key), GetProfile(), within=10)
    return _place(ctx, profile, owner, path)


async def place_for(ctx: Context, segments: Sequence[str]) -> Place:
    """Of a name somebody asks for. Who is no admin has his own workspaces only. Raises `Rejected`."""
    named, owner, path = _split(segments)
    key, _, tenant = named.partition("@")
    if (tenant or MASTER_TENANT) != ctx.caller.tenant_id:
        raise _missing(segments)
    profile = await resolve_agent(ctx, key)
    if not ctx.caller.is_admin:
        root = ctx.house.settings.agents.defaults.workspace
        own = place_of(root, profile.workspace, ctx.user_id, profile.sharing)
        if _directory(ctx, profile, owner) != own:
            raise _missing(segments)
    return _place(ctx, profile, owner, path)


def _split(segments: Sequence[str]) -> tuple[str, str, str]:
    if len(segments) < 3:
        raise _missing(segments)
    return segments[0], segments[1], "/".join(segments[2:])


def _directory(ctx: Context, profile: AgentProfile, owner: str) -> Path:
    base = place_of(ctx.house.settings.agents.defaults.workspace, profile.workspace, SYSTEM_USER)
    return base if owner == HERE else base / owner


def _place(ctx: Context, profile: AgentProfile, owner: str, path: str) -> Place:
    settings = ctx.house.settings
    if owner != HERE and not OWNER.match(owner):
        raise _missing([profile.key, owner, path])
    barred = (settings.data_dir, *settings.tools.deny_paths)
    base = _directory(ctx, profile, HERE).resolve()
    return Place(Workspace(base if owner == HERE else base / owner, barred=barred), path)


def _missing(segments: Sequence[str]) -> Rejected:
    return Rejected(not_found("file", "/".join(segments)[:200]))
