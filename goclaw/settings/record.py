"""How much runs write down to be run again. Contract: durability.md §16.1."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from goclaw.settings.section import Section


class Record(Section, frozen=True):
    """What runs write down, so that they can be replayed."""

    level: Annotated[Literal["off", "steps", "full"], Meta(description="full: also how every stream was cut")] = "steps"
