"""How long what has happened is kept. Contract: data-model.md §18, config-cli.md §4."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from goclaw.settings.section import Section

Days = Annotated[int, Meta(ge=1, le=36_500)]


class Retention(Section, frozen=True):
    """Days until things are forgotten, counted from their end."""

    runs_days: Annotated[Days, Meta(description="runs, and deliveries that were given up")] = 30
    task_events_days: Annotated[Days, Meta(description="the trail of runs, by whole weeks")] = 90
    records_days: Annotated[Days, Meta(description="what a run can be replayed from, unless pinned")] = 7
    archived_messages_days: Annotated[Days, Meta(description="messages a summary has replaced")] = 90
    traces_days: Annotated[Days, Meta(description="every single model call")] = 90
    usage_hourly_days: Annotated[Days, Meta(description="use by the hour; by the day it is kept for ever")] = 400
    audit_log_days: Annotated[Days, Meta(description="who changed what")] = 365
