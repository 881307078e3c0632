"""How old results of tools are made shorter for models. Contract: agent-loop.md §8.4."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from goclaw.settings.section import Section


class SoftTrim(Section, frozen=True):
    """A long result keeps its two ends."""

    max_chars: Annotated[int, Meta(ge=100, le=1_000_000, description="longer ones are trimmed")] = 6000
    head_chars: Annotated[int, Meta(ge=0, le=1_000_000)] = 3000
    tail_chars: Annotated[int, Meta(ge=0, le=1_000_000)] = 3000


class HardClear(Section, frozen=True):
    """The oldest results go altogether."""

    enabled: bool = True
    placeholder: Annotated[str, Meta(max_length=200)] = "[Old tool result content cleared]"


class Pruning(Section, frozen=True):
    """Old results of tools, when a conversation gets long."""

    mode: Literal["cache-ttl", "off"] = "cache-ttl"
    keep_last_assistants: Annotated[int, Meta(ge=0, le=100, description="answers that stay as they are")] = 3
    soft_trim_ratio: Annotated[float, Meta(ge=0, le=1, description="of the window, before results are trimmed")] = 0.25
    hard_clear_ratio: Annotated[float, Meta(ge=0, le=1, description="of the window, before they are cleared")] = 0.5
    min_prunable_tool_chars: Annotated[int, Meta(ge=0, le=100_000_000, description="fewer are not cleared")] = 50_000
    soft_trim: SoftTrim = SoftTrim()
    hard_clear: HardClear = HardClear()
