"""How many turns somebody may have. Contract: sessions-lanes-cron.md §8.1."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

from msgspec import Meta, field

from goclaw.domain.quota import Payer
from goclaw.settings.section import Section

Turns = Annotated[int, Meta(ge=0, le=1_000_000_000)]


class Windows(Section, frozen=True):
    """Turns in the last hour, day and week; 0 = what a less specific place says, and nowhere: no limit."""

    hour: Turns = 0
    day: Turns = 0
    week: Turns = 0


class Named(Section, frozen=True):
    """Limits by name."""

    named: dict[str, Windows] = field(default_factory=dict)


class Groups(Named, frozen=True):
    """Limits of groups, by the platform's id of the chat."""

    ROW_NAMES: ClassVar[re.Pattern[str]] = re.compile(r"[A-Za-z0-9_:@+-]{1,255}")


class Quota(Section, frozen=True):
    """Limits of a user or a group, the most specific first: its group, its channel, its provider, the default."""

    enabled: Annotated[bool, Meta(description="refuse turns over the limit; owners are free")] = False
    default: Windows = Windows()
    providers: Named = Named()
    channels: Named = Named()
    groups: Groups = Groups()

    def limits(self, payer: Payer, *, channel: str = "", provider: str = "") -> Windows:
        """What holds for this payer, window by window."""
        rows = [self.channels.named.get(channel), self.providers.named.get(provider), self.default]
        if payer.group:
            rows.insert(0, self.groups.named.get(payer.name.partition(":")[2]))
        there = [row for row in rows if row is not None]
        return Windows(
            hour=next((row.hour for row in there if row.hour), 0),
            day=next((row.day for row in there if row.day), 0),
            week=next((row.week for row in there if row.week), 0),
        )
