"""Read a text file of the workspace. Contract: tools.md §10."""

from __future__ import annotations

import os
from functools import partial
from io import BufferedReader, BytesIO
from typing import Annotated

import trio
from msgspec import Meta, Struct

from goclaw.tools.context_files import ContextFiles
from goclaw.tools.fs.kinds import kind_of
from goclaw.tools.fs.refusals import reading
from goclaw.tools.tool import Answer, Effect, ToolContext, ToolFailed, tool

WHOLE = 10 * 1024 * 1024  # bytes of one answer, before the pipeline cuts it
SNIFF = 8192  # bytes looked at for NULs
LINES = 20_000


class ReadFile(Struct):
    path: Annotated[str, Meta(min_length=1, max_length=4096, description="relative to the workspace")]
    offset: Annotated[int, Meta(ge=1, description="first line, from 1")] | None = None
    limit: Annotated[int, Meta(ge=1, le=LINES, description="number of lines")] | None = None


@tool(group="fs", effect=Effect.PURE, parallel=True)
async def read_file(ctx: ToolContext, ask: ReadFile, texts: ContextFiles) -> Answer:
    """Read a text file of the workspace, whole or some of its lines."""
    with reading(ask.path):
        name = ctx.workspace.relative(ask.path)
        kept = await texts.read(ctx, name) if name is not None else None
        work = partial(_read, ctx, ask) if kept is None else partial(_of_text, kept.text, ask)
        return Answer(text=await ctx.thread(work), silent=True)


def _of_text(text: str, ask: ReadFile) -> str:
    if ask.offset is None and ask.limit is None:
        return text
    return _lines(BytesIO(text.encode("utf-8", "replace")), ask.path, ask.offset or 1, ask.limit or LINES)


def _read(ctx: ToolContext, ask: ReadFile) -> str:
    with ctx.workspace.open(ask.path) as descriptor, open(descriptor, "rb", closefd=False) as file:
        head, size = file.peek(SNIFF)[:SNIFF], os.fstat(descriptor).st_size
        if kind := kind_of(head):
            return f"{ask.path} is {'an' if kind[0] in 'ai' else 'a'} {kind} of {size} bytes: use read_{kind}"
        if b"\0" in head:
            raise ToolFailed("unsupported", f"{ask.path} is a binary file")
        if ask.offset is not None or ask.limit is not None:
            return _lines(file, ask.path, ask.offset or 1, ask.limit or LINES)
        if size > WHOLE:
            raise ToolFailed("too_large", f"{ask.path} is larger than 10 MiB; ask for lines with offset and limit")
        return file.read(WHOLE).decode("utf-8", "replace")


def _lines(file: BufferedReader | BytesIO, path: str, first: int, count: int) -> str:
    """Lines `first` and following, each after its number and a tab."""
    found: list[str] = []
    room = WHOLE
    number = 0
    while number < first + count - 1 and (line := file.readline(WHOLE + 1)):
        trio.from_thread.check_cancelled()  # a file may have any number of short lines before the first we want
        number += 1
        room -= len(line) if number >= first else 0
        if room < 0 or len(line) > WHOLE:
            raise ToolFailed("too_large", f"{path} has more than 10 MiB up to line {number}; ask for fewer lines")
        if number >= first:
            found.append(f"{number}\t{line.decode('utf-8', 'replace')}")
    return "".join(found)
