"""Find text in the files of the workspace. Contract: tools.md §10.

RE2 searches in time that grows with the text alone, whatever the pattern, and lets the event loop go on meanwhile; a
process that could be killed instead would cost 20 ms to start and let one pattern use up all ten seconds.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Annotated

import trio
from msgspec import Meta, Struct

from goclaw.security.paths import PathRefused
from goclaw.tools.fs.patterns import Expression, expression, literal, matcher
from goclaw.tools.fs.refusals import reading
from goclaw.tools.fs.tree import LOOKED_AT, Found, below
from goclaw.tools.tool import Effect, ToolContext, ToolFailed, tool

LARGEST = 2 * 1024 * 1024  # bytes of a file; tools.md §10 with the next four
SNIFF = 8192  # bytes looked at for NULs
SECONDS = 10.0
STEPS = 10**8  # of RE2 between two looks at the clock: half a second at the worst
LINE_STEPS = 10 * STEPS  # in one line, which is searched at once
TEXT = 400  # characters of a line
WITHOUT = frozenset({".git", "node_modules"})


class Search(Struct):
    pattern: Annotated[str, Meta(min_length=1, max_length=1000, description="RE2 syntax: no lookaround, no \\1")]
    path: Annotated[str, Meta(min_length=1, max_length=4096, description="a directory or file")] | None = None
    glob: Annotated[str, Meta(description="only files like this, such as *.py or src/**/*.ts")] | None = None
    regex: bool = True
    case_sensitive: bool = True
    context: Annotated[int, Meta(ge=0, le=10, description="lines around each match")] = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 200


@tool(group="fs", effect=Effect.PURE, parallel=True)
async def search(ctx: ToolContext, ask: Search) -> str:
    """Find lines that match a pattern in the files of the workspace: `path:line:text` for each."""
    with reading(ask.path or "."):
        return await ctx.thread(_search, ctx, ask)


def _search(ctx: ToolContext, ask: Search) -> str:
    pattern, wanted = _pattern(ask), _wanted(ask)
    ends = time.monotonic() + SECONDS
    lines: list[str] = []
    hits = files = 0
    for path, data in _texts(ctx, ask.path or ".", wanted):
        before = hits
        for number in matches(pattern, data, ends):
            hits += 1
            if hits <= ask.limit:
                lines += _shown(path, data, number, ask.context)
        files += hits > before
    shown = f", {ask.limit} shown" if hits > ask.limit else ""
    return "\n".join([*lines, f"{hits} matches in {files} files{shown}"])


def _pattern(ask: Search) -> Expression:
    text = ask.pattern.encode("utf-8", "replace")
    try:
        return expression(b"(?m)" + (text if ask.regex else literal(text)), case_sensitive=ask.case_sensitive)
    except ValueError as error:
        raise ToolFailed("invalid_args", f"pattern: {error}; regex=false takes it as it is written") from None


def _wanted(ask: Search) -> Callable[[str], bool]:
    """Whether a path is to be searched. A pattern without a directory is one for names."""
    if ask.glob is None:
        return lambda path: True
    try:
        matches = matcher(ask.glob)
    except ValueError as error:
        raise ToolFailed("invalid_args", f"glob: {error}") from None
    return matches if "/" in ask.glob else lambda path: matches(path.rpartition("/")[2])


def _texts(ctx: ToolContext, path: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Path and content of every text worth searching. A link is followed to a file, and never out of the workspace."""
    try:
        with ctx.workspace.open(path, directory=True) as directory:
            for found in below(ctx.workspace, directory, repeat(None, LOOKED_AT), hidden=True, without=WITHOUT):
                if found.is_dir or not wanted(found.path):
                    continue
                data = _linked(ctx, path, found) if found.entry.is_symlink() else _opened(found)
                if data is not None:
                    yield found.path, data
    except NotADirectoryError:
        with ctx.workspace.open(path) as file:
            data = _text(file)
            if data is not None:
                yield path, data


def _linked(ctx: ToolContext, path: str, found: Found) -> bytes | None:
    try:
        with ctx.workspace.open(f"{path}/{found.path}") as file:
            return _text(file)
    except (PathRefused, OSError):
        return None


def _opened(found: Found) -> bytes | None:
    try:
        file = os.open(
            found.entry.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=found.directory
        )
    except OSError:
        return None
    try:
        return _text(file)
    finally:
        os.close(file)


def _text(file: int) -> bytes | None:
    """What is in an open file, unless it is large, binary, or has a second name, which may lie anywhere."""
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or found.st_size > LARGEST:
        return None
    with open(file, "rb", closefd=False) as stream:
        data = stream.read(LARGEST)
    return None if b"\0" in data[:SNIFF] else data


def matches(pattern: Expression, data: bytes, ends: float) -> Iterator[tuple[int, int, int]]:
    """Number, beginning and end of each line that matches; no match goes beyond its line."""
    number, counted, at = 1, 0, 0
    while at <= len(data):
        trio.from_thread.check_cancelled()
        stop = data.find(b"\n", min(at + STEPS // pattern.programsize, len(data)))
        stop = len(data) if stop < 0 else stop
        if time.monotonic() > ends or (stop - at) * pattern.programsize > LINE_STEPS:
            raise ToolFailed(
                "timeout",
                f"the search takes longer than {SECONDS:g} s; search a smaller path, with a glob or a simpler pattern",
            )
        match = pattern.search(data, at, stop)
        if match is None:
            at = stop + 1
            continue
        begins = data.rfind(b"\n", 0, match.start()) + 1
        end = data.find(b"\n", match.start())
        end = len(data) if end < 0 else end
        if begins == len(data) and begins > 0:
            return  # what follows the last newline is no line
        number += data.count(b"\n", counted, begins)
        counted, at = begins, end + 1
        yield number, begins, end


def _shown(path: str, data: bytes, hit: tuple[int, int, int], context: int) -> list[str]:
    """The line of a hit as `path:line:text`, and `path-line-text` for those around it."""
    number, begins, end = hit
    lines = [_line(path, ":", number, data[begins:end])]
    first, above = begins, number
    for _ in range(context):
        if first == 0:
            break
        last, first, above = first - 1, data.rfind(b"\n", 0, first - 1) + 1, above - 1
        lines.insert(0, _line(path, "-", above, data[first:last]))
    for below_it in range(number + 1, number + context + 1):
        if end + 1 >= len(data):
            break
        start, end = end + 1, data.find(b"\n", end + 1)
        end = len(data) if end < 0 else end
        lines.append(_line(path, "-", below_it, data[start:end]))
    return lines


def _line(path: str, sign: str, number: int, text: bytes) -> str:
    shown = text.removesuffix(b"\r").decode("utf-8", "replace")
    return f"{path}{sign}{number}{sign}{shown if len(shown) <= TEXT else shown[:TEXT] + '…'}"
