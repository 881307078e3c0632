"""An agent's HEARTBEAT.md: read and replaced in its workspace. Blocking: for threads."""

from __future__ import annotations

import secrets
from pathlib import Path

from goclaw.domain.heartbeat import FILE
from goclaw.knowledge import files
from goclaw.knowledge.files import LARGEST

__all__ = ["LARGEST", "read", "write"]


def read(root: Path, workspace: str) -> str:
    """Its text, cut at 64 KiB; empty if there is none. An agent's `workspace` is relative to `root`, or absolute.

    Raises OSError where it cannot be read.
    """
    return files.read(root / workspace, FILE)


def write(root: Path, workspace: str, text: str) -> None:
    """Replace it: whoever reads meanwhile reads the old or the new one. Raises OSError."""
    place = root / workspace
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = place / f".{FILE}.{secrets.token_hex(4)}"
    try:
        draft.write_text(text, "utf-8")
        draft.replace(place / FILE)
    finally:
        draft.unlink(missing_ok=True)
