"""The file of the day that a user's notes go to. Contract: agent-loop.md §13.3 step 2, skills-memory-kg.md §2.7."""

from __future__ import annotations

import hashlib
from datetime import datetime
from errno import EFBIG
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from goclaw.security.paths import Workspace

LARGEST = 1024 * 1024  # bytes; a file that is longer gets no more notes


def file_of(now: datetime, timezone: str) -> str:
    """Named by the day, where the agent lives."""
    try:
        here = now.astimezone(ZoneInfo(timezone) if timezone else None)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        here = now
    return f"memory/{here:%Y-%m-%d}.md"


def mark(*of: object) -> str:
    """Names a cycle of a session, so that its notes are there once however often it is begun."""
    return f"<!-- {hashlib.sha256(repr(of).encode()).hexdigest()[:16]} -->"


def held(workspace: Workspace, file: str) -> str:
    """What it holds; empty if there is none. Raises OSError, PathRefused."""
    try:
        with workspace.open(file) as descriptor, open(descriptor, "rb", closefd=False) as stream:
            return stream.read(LARGEST).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def add(workspace: Workspace, file: str, mark: str, notes: str) -> None:
    """Behind what is there, if there is room. Raises OSError, PathRefused."""
    there = held(workspace, file)
    added = f"{mark}\n{notes.strip()}\n"
    if len((there + added).encode()) > LARGEST:
        raise OSError(EFBIG, "a file of notes has at most 1 MiB")
    gap = "" if not there or there.endswith("\n\n") else "\n" if there.endswith("\n") else "\n\n"
    workspace.append(file, f"{gap}{added}".encode())
