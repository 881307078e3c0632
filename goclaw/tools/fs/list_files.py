"""List a directory of the workspace. Contract: tools.md §10."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import repeat
from typing import Annotated

import trio
from msgspec import Meta, Struct

from goclaw.security.paths import PathRefused, is_hidden
from goclaw.tools.tool import Effect, ToolContext, ToolFailed, tool

LOOKED_AT = 100_000  # entries of all directories together, hidden ones too; what lies beyond is not counted
UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # in names: would forge lines or break encoding


class ListFiles(Struct):
    path: Annotated[str, Meta(min_length=1, max_length=4096, description="relative to the workspace")] = "."
    recursive: bool = False
    max_depth: Annotated[int, Meta(ge=1, le=10)] = 10
    limit: Annotated[int, Meta(ge=1, le=5000)] = 1000
    show_hidden: bool = False


@tool(group="fs", effect=Effect.PURE, parallel=True)
async def list_files(ctx: ToolContext, ask: ListFiles) -> str:
    """List a directory of the workspace: one line per entry, directories first."""
    try:
        lines = await ctx.thread(_list, ctx, ask)
    except PathRefused as refusal:
        raise ToolFailed("denied_path", str(refusal)) from None
    except (FileNotFoundError, NotADirectoryError):
        raise ToolFailed("not_found", f"there is no directory {ask.path}") from None
    except OSError as error:
        raise ToolFailed("unsupported", f"{ask.path} cannot be listed: {error.strerror}") from None
    shown = lines[: ask.limit]
    if len(lines) > ask.limit:
        shown.append(f"… {len(lines) - ask.limit} more")
    return "\n".join(shown) or "(empty)"


def _list(ctx: ToolContext, ask: ListFiles) -> list[str]:
    with ctx.workspace.open(ask.path, directory=True) as directory:
        depth = ask.max_depth if ask.recursive else 1
        return list(entries(directory, "", depth, ask.show_hidden, repeat(None, LOOKED_AT)))


def entries(directory: int, prefix: str, depth: int, hidden: bool, looks: Iterator[None]) -> Iterator[str]:
    """Lines for what is in an open directory. What vanishes or closes itself while we look is skipped.

    Every look at an entry takes one of `looks`, and so does the end of each directory.
    """
    with os.scandir(directory) as scan:
        found = [
            entry
            for _, entry in zip(looks, scan, strict=False)
            if not is_hidden(entry.name) and (hidden or not entry.name.startswith("."))
        ]
    found.sort(key=lambda entry: (not entry.is_dir(follow_symlinks=False), os.fsencode(entry.name)))
    for entry in found:
        trio.from_thread.check_cancelled()
        name = prefix + UNFIT.sub("\ufffd", entry.name)
        try:
            if not entry.is_dir(follow_symlinks=False):
                yield f"[FILE] {name} ({entry.stat(follow_symlinks=False).st_size})"
                continue
            yield f"[DIR] {name}/"
            if depth > 1:
                below = os.open(
                    entry.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory
                )
                try:
                    yield from entries(below, f"{name}/", depth - 1, hidden, looks)
                finally:
                    os.close(below)
        except OSError:
            continue
