"""Files an agent asks us to read and write: those of its work directory. Contract: providers.md §7.1, paths."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any

import trio
from msgspec import Meta, Raw, Struct, json

from goclaw.providers.acp.peer import FAILED, Refusal
from goclaw.security.paths import PathRefused, Workspace

WHOLE = 2 * 2**20  # bytes of one file; our decision, half of a line
DENIED = re.compile(r"\.env|secret|[Cc]redentials")  # names on the way to a file begin like this
DENIED_ROOT = re.compile(r"/etc/")


class _Read(Struct, frozen=True):
    path: str
    line: Annotated[int, Meta(ge=0)] | None = None  # the first one wanted, from 1
    limit: Annotated[int, Meta(ge=0)] | None = None


class _Write(Struct, frozen=True):
    path: str
    content: str


class Files:
    """`root` is absolute, free of links, and exists."""

    def __init__(self, root: Path) -> None:
        self._workspace = Workspace(root, denied=DENIED)

    async def read(self, params: Raw) -> dict[str, Any]:
        ask = json.decode(params, type=_Read)
        return {"content": await self._in_thread(self._read, ask)}

    async def write(self, params: Raw) -> dict[str, Any]:
        ask = json.decode(params, type=_Write)
        await self._in_thread(self._write, ask)
        return {}

    async def _in_thread(self, work: Any, ask: _Read | _Write) -> Any:
        try:
            if DENIED_ROOT.match(f"{self._workspace.root}/"):
                raise PathRefused("the work directory is below /etc")
            return await trio.to_thread.run_sync(work, ask)
        except PathRefused as refusal:
            raise Refusal(FAILED, f"{ask.path}: {refusal}") from None
        except OSError as error:
            raise Refusal(FAILED, f"{ask.path}: {error.strerror}") from None

    def _read(self, ask: _Read) -> str:
        with self._workspace.open(ask.path) as descriptor, open(descriptor, "rb", closefd=False) as file:
            if os.fstat(descriptor).st_size > WHOLE:
                raise PathRefused(f"it is larger than {WHOLE >> 20} MiB")
            text = file.read(WHOLE).decode("utf-8", "replace")
        if ask.line is None and ask.limit is None:
            return text
        lines = text.splitlines(keepends=True)[max(0, (ask.line or 1) - 1) :]
        return "".join(lines if ask.limit is None else lines[: ask.limit])

    def _write(self, ask: _Write) -> None:
        self._workspace.write(ask.path, ask.content.encode("utf-8", "replace"))
