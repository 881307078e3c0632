"""Hooks. Contract: orchestration.md §13.4."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from goclaw.settings.section import Section


class Hooks(Section, frozen=True):
    """What people may put before and behind the steps of runs."""

    allow_command: (
        Annotated[bool, Meta(description="hooks that run commands of this machine; unset: with one tenant only")] | None
    ) = None
