"""This gateway among others on the same PostgreSQL. Contract: durability.md §9.2, §12."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from goclaw.settings.section import Section


class Cluster(Section, frozen=True):
    """This gateway among others on the same database."""

    node_name: Annotated[
        str, Meta(max_length=100, description="stays the same across restarts; empty = host and port")
    ] = ""
    lease_sec: Annotated[float, Meta(ge=3, le=300, description="a silent node is dead after it; same on all")] = 15.0
