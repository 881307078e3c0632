"""What a run is told from context files: read, seeded when somebody is met for the first time, and cut to size.

Contract: agent-loop.md §7. Nothing is cached: one indexed read a turn, and nothing to invalidate.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Protocol

from msgspec import Struct

from goclaw.domain.agent import AgentProfile
from goclaw.domain.run import LANE_OF
from goclaw.knowledge import templates
from goclaw.knowledge.context_files import (
    BOOTSTRAP,
    GUARDED,
    TURNS,
    Circumstances,
    ContextFile,
    Mode,
    blank,
    chosen,
    fitted,
)
from goclaw.stores import context_files as stored
from goclaw.stores.context_files import Found


class Database(Protocol):
    """`ctx.db` of an actor or an operation."""

    def __call__(self, work: Any, /, *args: Any, **kwargs: Any) -> Awaitable[Any]: ...


class Limits(Struct, frozen=True):
    """In characters, of one file and of all together (`agents.defaults.bootstrap_*_chars`)."""

    one: int = 20_000
    total: int = 24_000


class Loaded(Struct, frozen=True, kw_only=True):
    files: tuple[ContextFile, ...] = ()
    hidden: tuple[str, ...] = ()  # files that were kept back because the one who speaks may not write them
    first_contact: bool = False  # BOOTSTRAP.md is among them: tell the agent `TurnEnded` when the run has ended well


async def load(
    db: Database,
    agent: AgentProfile,
    *,
    tenant: str,
    user: str,
    when: Circumstances,
    mode: Mode = "full",
    light: bool = False,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Loaded:
    """Everything from one moment; `light`: nothing. Raises StoreError."""
    if light:
        return Loaded()
    named = {"tenant": tenant, "agent": agent.id, "user": user}
    found: Found = await db(stored.read, **named)
    if not found.met and LANE_OF[when.kind] == "main":
        found = await db(stored.meet, **named, seeds=templates.first_files(agent))
    files = fitted(chosen(found.texts, when, mode), limits.one, limits.total)
    kept_back = when.group and not when.writer
    hidden = sorted(
        {text.name for text in found.texts if kept_back and text.name in GUARDED and not blank(text.content)}
    )
    first = any(file.name == BOOTSTRAP for file in files)
    if first and await outgrow(db, tenant=tenant, agent=agent.id, user=user):  # nobody lived to do it in time
        files, first = tuple(file for file in files if file.name != BOOTSTRAP), False
    return Loaded(files=files, hidden=tuple(hidden), first_contact=first)


async def outgrow(db: Database, *, tenant: str, agent: str, user: str) -> bool:
    """Whoever finished his third turn is no stranger any more. Whether that was now. Raises StoreError."""
    gone: bool = await db(stored.outgrow, tenant=tenant, agent=agent, user=user, name=BOOTSTRAP, turns=TURNS)
    return gone
