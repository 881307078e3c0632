"""Where rows live. Contract: config-cli.md §4.7, §5 (storage); README.md R1; data-model.md §20."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from goclaw.settings.section import Secret, Section


class Embedded(Section, frozen=True):
    """The PostgreSQL the gateway runs itself when no DSN is set."""

    dir: Annotated[Path, Meta(description="cluster, socket and log")] = Path("${GOCLAW_DATA_DIR}/pg")
    shared_buffers_mb: Annotated[int, Meta(ge=1, le=65_536)] = 16
    max_connections: Annotated[int, Meta(ge=5, le=1000)] = 40
    max_wal_size_mb: Annotated[int, Meta(ge=32, le=65_536)] = 64


class Database(Section, frozen=True):
    """PostgreSQL: our own or yours. After loading, `mode` is embedded or external, never auto."""

    mode: Annotated[Literal["auto", "embedded", "external"], Meta(description="auto = a DSN decides")] = "auto"
    dsn: Annotated[Secret, Meta(description="GOCLAW_POSTGRES_DSN only, never the file")] = Secret()
    pool_min: Annotated[int, Meta(ge=0, le=1000, description="connections kept open")] = 2
    pool_max: Annotated[int, Meta(ge=1, le=1000, description="connections at most")] = 16
    statement_timeout_ms: Annotated[float, Meta(ge=100, le=3_600_000)] = 30_000.0
    embedded: Embedded = Embedded()
