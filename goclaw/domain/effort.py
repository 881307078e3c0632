"""How hard a model is asked to think. Contract: providers.md §10."""

from __future__ import annotations

from typing import Literal

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]
EFFORTS: tuple[Effort, ...] = ("none", "minimal", "low", "medium", "high", "xhigh")


def nearest(wanted: Effort, offered: tuple[Effort, ...]) -> Effort | None:
    """`wanted` if it is offered, else the nearest lower, else the nearest higher; None if nothing is offered."""
    most = EFFORTS.index(wanted)
    lower = [effort for effort in offered if EFFORTS.index(effort) <= most]
    return max(lower, key=EFFORTS.index) if lower else min(offered, key=EFFORTS.index, default=None)
