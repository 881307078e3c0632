"""Files that are no files: an agent's own texts and memory, which live in the database. Contract: tools.md §9.2.

The port. The fs tools ask it first, with a path relative to the workspace in its plainest form (`SOUL.md`,
`memory/notes.md`), and take their own way where it says None. It knows whose texts they are by the context.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from goclaw.tools.tool import ToolContext


@dataclass(frozen=True)
class Kept:
    """What reading gives."""

    text: str
    exists: bool = True  # else the text is a hint to the model: there is none yet, or it is in the prompt


@dataclass(frozen=True)
class Stored:
    """A text was kept."""

    before: str = ""  # the other text it replaced, where the model should see it (memory files)


class ContextFiles(Protocol):
    """Every method raises `ToolFailed` for what is ours and refused: `denied_policy`, `not_found`, `too_large`."""

    async def read(self, ctx: ToolContext, path: str) -> Kept | None:
        """The text at `path`; None if it is a file like any other."""

    async def write(self, ctx: ToolContext, path: str, text: str) -> Stored | None:
        """Replace the text at `path` by `text`; None if it is a file like any other. Doing it twice is as once."""

    async def listed(self, ctx: ToolContext, directory: str) -> tuple[tuple[str, int], ...]:
        """Path and bytes of every text below `directory` ("" is the workspace), however deep."""

    async def permit(self, ctx: ToolContext, path: str) -> None:
        """Whether this run may write the file at `path`, which is no text of ours: in groups only file writers may."""


class OnlyFiles(ContextFiles):
    """No file is anything but a file, and whoever runs may write it."""

    async def read(self, ctx: ToolContext, path: str) -> Kept | None:
        return None

    async def write(self, ctx: ToolContext, path: str, text: str) -> Stored | None:
        return None

    async def listed(self, ctx: ToolContext, directory: str) -> tuple[tuple[str, int], ...]:
        return ()

    async def permit(self, ctx: ToolContext, path: str) -> None:
        return None
