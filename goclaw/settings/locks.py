"""Runs that must not work on the same thing at once. Contract: sessions-lanes-cron.md §11, nodes-autonomy.md §3."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from goclaw.settings.section import Section


class Locks(Section, frozen=True):
    """Resource keys of runs."""

    infer: Annotated[bool, Meta(description="guess keys of tasks that declare none")] = True
    max_keys: Annotated[int, Meta(ge=1, le=20, description="keys of a run")] = 20
    retry_sec: Annotated[float, Meta(ge=1, le=3600, description="a run that waits for keys looks again")] = 30.0
    reserve_after_sec: Annotated[
        float, Meta(ge=1, le=86_400, description="nobody overtakes a run that has waited so long for its keys")
    ] = 300.0
