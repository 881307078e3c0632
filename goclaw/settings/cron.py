"""Scheduled jobs. Contract: sessions-lanes-cron.md §5."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from goclaw.settings.section import Section

Delay = Annotated[float, Meta(ge=0.1, le=3600)]


class Cron(Section, frozen=True):
    """Jobs that run by themselves, and what happens when one fails."""

    enabled: Annotated[bool, Meta(description="false: nothing becomes due; jobs can still be run by hand")] = True
    max_retries: Annotated[int, Meta(ge=0, le=10, description="of a job that failed")] = 3
    retry_base_delay: Annotated[Delay, Meta(description="seconds before the first retry, doubled for each")] = 2.0
    retry_max_delay: Annotated[Delay, Meta(description="seconds, the longest")] = 30.0
    default_timezone: Annotated[str, Meta(max_length=64, description="IANA name; empty = UTC")] = ""
    job_timeout: Annotated[float, Meta(ge=1, le=86_400, description="seconds a job may take")] = 600.0
    catch_up: Annotated[
        Literal["one", "none"], Meta(description="runs to make up for what was missed while the gateway was down")
    ] = "one"
