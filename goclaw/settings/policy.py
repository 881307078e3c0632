"""The policy file. Contract: security.md §9, §18."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from goclaw.settings.section import Section


class Policy(Section, frozen=True):
    """What agents may do at all."""

    file: Annotated[Path, Meta(description="without this file nothing is denied by policy")] = Path(
        "${GOCLAW_DATA_DIR}/policy.yaml"
    )
