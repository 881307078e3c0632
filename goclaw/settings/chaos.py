"""Whether operators may break things on purpose. Contract: supervision.md §21 C1."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from goclaw.settings.section import Section


class Chaos(Section, frozen=True):
    """Consent to chaos plans. There is no variable and no flag for it: only the file can give it."""

    enabled: Annotated[bool, Meta(description="operators may start chaos plans")] = False
    allow_production: Annotated[bool, Meta(description="also where GOCLAW_ENV is production")] = False
