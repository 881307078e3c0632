"""What is written down about a running gateway. Contract: observability.md §10.3."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from goclaw.settings.section import Section


class Logging(Section, frozen=True):
    """What is written to the terminal."""

    level: Literal["debug", "info", "warn", "error"] = "info"
    format: Annotated[Literal["json", "text"], Meta(description="a terminal always gets text")] = "json"
