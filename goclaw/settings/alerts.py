"""Who hears of alerts. Contract: config-cli.md §4.7, tools.md §10."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from goclaw.settings.section import Section


class Alerts(Section, frozen=True):
    """Chats of operators."""

    notify: Annotated[tuple[str, ...], Meta(max_length=20, description="channel:chat, told of agents' alerts")] = ()
