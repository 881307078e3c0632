"""How hard a model is asked to think. Contract: providers.md §10."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]
EFFORTS: tuple[Effort, ...] = ("none", "minimal", "low", "medium", "high", "xhigh")


class Reasoning(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was wished for and what was sent. Without `effective` nothing was, for `reason`."""

    requested: str
    effective: Effort | None = None
    reason: str = ""


def nearest(wanted: Effort, offered: tuple[Effort, ...]) -> Effort | None:
    """`wanted` if it is offered, else the nearest lower, else the nearest higher; None if nothing is offered."""
    most = EFFORTS.index(wanted)
    lower = [effort for effort in offered if EFFORTS.index(effort) <= most]
    return max(lower, key=EFFORTS.index) if lower else min(offered, key=EFFORTS.index, default=None)
