"""Texts that agents keep in their workspaces. Blocking: for threads."""

from __future__ import annotations

import os
from pathlib import Path

from goclaw.security.paths import PathRefused, Workspace

LARGEST = 64 * 1024  # bytes


def read(place: Path, file: str) -> str:
    """The text of a file in the workspace at `place`, cut at 64 KiB; empty if there is none, or it leads outside.

    Raises OSError where it cannot be read.
    """
    try:
        with Workspace(place.resolve()).open(file) as descriptor:
            data = os.read(descriptor, LARGEST)
    except (FileNotFoundError, NotADirectoryError, PathRefused):
        return ""
    return data.decode("utf-8", "replace")
