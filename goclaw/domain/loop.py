"""Loop mode: an agent that goes on by itself, step after step, until it says that all is done.

Contract: agent-loop.md §15.1, durability.md §8.3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from goclaw.domain.run import RunKind

LoopEnd = Literal["completed", "budget_exceeded", "timeout", "failed"]

DURATION = re.compile(r"(\d{1,6}(?:\.\d{1,3})?) ?(s|m|h)")
SECONDS = {"s": 1, "m": 60, "h": 3600}
ALONE: frozenset[RunKind] = frozenset(
    {"heartbeat", "announce", "evaluate", "selfcheck", "summary", "flush", "replay"}
)  # runs that are one step whatever their agent is


class Loop(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far it may go. Limits hold across restarts."""

    max_steps: Annotated[int, Meta(ge=1, le=1000)] = 25
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 100_000  # of all its model calls
    max_duration: Annotated[float, Meta(ge=1, le=86_400)] = 1800.0  # seconds from acceptance
    termination_keyword: Annotated[str, Meta(min_length=1, max_length=100)] = "TASK_COMPLETE"


class LoopConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As an agent says it (`other_config.loop`). Every step is kept, so `checkpoint_interval` is always 1."""

    enabled: bool = False
    max_steps: Annotated[int, Meta(ge=1, le=1000)] = 25
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 100_000
    max_duration: (
        Annotated[float, Meta(ge=1, le=86_400)] | Annotated[str, Meta(pattern=f"^(?:{DURATION.pattern})$")]
    ) = "30m"
    checkpoint_interval: Literal[1] = 1
    termination_keyword: Annotated[str, Meta(min_length=1, max_length=100)] = "TASK_COMPLETE"


def loop_of(other_config: Mapping[str, Any]) -> Loop | None:
    """How an agent goes on by itself; None if it does not. Raises msgspec.ValidationError."""
    said = msgspec.convert(other_config.get("loop") or {}, LoopConfig)
    if not said.enabled:
        return None
    facts = {name: getattr(said, name) for name in Loop.__struct_fields__}
    return msgspec.convert({**facts, "max_duration": _seconds(said.max_duration)}, Loop)


def _seconds(span: float | str) -> float:
    found = DURATION.fullmatch(span) if isinstance(span, str) else None
    return float(found[1]) * SECONDS[found[2]] if found else float(span)
