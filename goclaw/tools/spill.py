"""Results too long for a model, kept whole for a day where it can read them. Contract: tools.md §8."""

from __future__ import annotations

import contextlib
import os
import time

from goclaw.security.file_names import safe_name
from goclaw.security.paths import PathRefused, Workspace

PLACE = ".tool-results"  # in the workspace; hidden from lists
LARGEST = 10 * 1024 * 1024  # bytes of one
KEPT = 50  # of them, the newest
AGE = 24 * 3600.0  # seconds


def spill(workspace: Workspace, call_id: str, text: str) -> str:
    """Keep `text` and say where; empty where it cannot be kept. Blocking: for threads."""
    path = f"{PLACE}/{safe_name(call_id) or 'result'}.txt"
    try:
        workspace.write(path, text.encode("utf-8", "replace")[:LARGEST])
    except (OSError, PathRefused):
        return ""
    with contextlib.suppress(OSError, PathRefused):  # what is too much stays until the next one
        _sweep(workspace)
    return path


def _sweep(workspace: Workspace) -> None:
    """Others may sweep at the same time: what they took is gone."""
    found: list[tuple[float, str]] = []
    with workspace.open(PLACE, directory=True) as directory:
        with os.scandir(directory) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    found.append((entry.stat(follow_symlinks=False).st_mtime, entry.name))
        old = time.time() - AGE
        for place, (changed, name) in enumerate(sorted(found, reverse=True)):
            if place >= KEPT or changed < old:
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=directory)
