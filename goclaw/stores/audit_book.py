"""Writes the audit: a line gets its place in the chain, goes to the file at once and to the table soon.

Two sinks, so that one may fail: the other goes on, and a line says what the first one misses.
Contract: observability.md §12, security.md §11.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import structlog
import trio

from goclaw.domain.errors import StartupFatal, StoreError
from goclaw.security.audit import FIRST, GAP, Act, Line, chained, entry
from goclaw.security.known import Known
from goclaw.stores import audit
from goclaw.stores.audit_file import TAIL, AuditFile, lines_of
from goclaw.stores.database import Database

WAITING = 10_000  # lines for the table
AT_ONCE = 500  # lines in one statement
RUNS = 10_000  # whose reads are counted

log = structlog.get_logger()


class AuditBook:
    """The one writer of a chain. `known` are secrets that no line may hold."""

    def __init__(
        self, database: Database, path: Path, chain: str, now: Callable[[], datetime], known: Known | None = None
    ) -> None:
        self._database = database
        self._file = AuditFile(path)
        self._now = now
        self._known = known or Known()
        self._waiting: deque[Line] = deque()
        self._counts: OrderedDict[str, tuple[Counter[str], dict[str, Any]]] = OrderedDict()
        self._disk, self._table = trio.Lock(), trio.Lock()
        self._dirty = False
        self._file_misses: int | None = None  # the first line of this chain that is not in the file
        self._table_misses: tuple[int, int] | None = None
        self.path = path
        self.chain = chain[:100]
        self.seq = 0
        self.hash = FIRST
        self.file_ok = False
        self.table_ok = True

    async def open(self) -> None:
        """Find the end of the chain in both sinks. Raises StartupFatal E_AUDIT_INIT if neither takes lines."""
        head = await self._database.run(audit.head, self.chain)
        seq, last = (head.seq, head.hash) if head is not None else (0, FIRST)
        newer: list[Line] = []
        written = 0
        try:
            self._file.open()
            self.file_ok = True
            tail = await trio.to_thread.run_sync(lambda: [one for one in lines_of(self.path, TAIL) if self._ours(one)])
            written = tail[-1]["seq"] if tail else 0
            newer = [one for one in tail if one["seq"] > seq]
        except OSError as error:
            log.error("audit.file_lost", path=str(self.path), error=error.strerror)
        self._waiting.extend(newer[-WAITING:])
        self.seq, self.hash = (newer[-1]["seq"], newer[-1]["hash"]) if newer else (seq, last)
        if self.file_ok and written < self.seq:
            self._gap("file", written + 1, self.seq)
        if not self.file_ok:
            self._file_misses = self.seq + 1
            await self._to_table()
            if not await self.write(Act(action="audit.opened")):
                detail = f"neither {self.path} nor the table audit_log can be written"
                raise StartupFatal("E_AUDIT_INIT", detail, "Is there room, and who owns the directory?")

    def close(self) -> None:
        self._file.close()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def failing(self) -> bool:
        """Neither sink takes anything."""
        return not self.file_ok and not self.table_ok

    async def ready(self) -> bool:
        """Whether a line would be taken, as far as can be told before there is one."""
        if self.failing:
            await self.keep()
        return not self.failing

    def note(self, act: Act) -> None:
        """Write soon: it is on the disk within 0.2 s."""
        self._add(entry(act, self._now(), self._known.forms))

    async def write(self, act: Act) -> bool:
        """On a disk when this returns; False: no sink took it, so whatever it is about must not go on."""
        line = self._add(entry(act, self._now(), self._known.forms))
        if self.file_ok and await self._to_disk():
            return True
        await self._to_table()
        return self.table_ok and not any(one is line for one in self._waiting)

    def count(self, run_id: str, action: str, *, tenant_id: str, actor_id: str, policy_version: str | None) -> None:
        """An allowed call that only reads: `run_ended` writes one line for all of a run."""
        who = {"tenant_id": tenant_id, "actor_id": actor_id, "policy_version": policy_version}
        counts, _ = self._counts.setdefault(run_id, (Counter(), who))
        counts[action] += 1
        if len(self._counts) > RUNS:
            self.run_ended(next(iter(self._counts)))

    def run_ended(self, run_id: str) -> None:
        counts, who = self._counts.pop(run_id, (None, {}))
        if counts:
            calls = {"calls": dict(counts.most_common(50)), "total": counts.total()}
            self.note(
                Act(action="tools.reads", decision="allow", actor_type="agent", run_id=run_id, details=calls, **who)
            )

    async def keep(self) -> None:
        """What has come together, to where it belongs. Called every now and then."""
        if not self.file_ok:
            self._open_again()
        if self._dirty:
            await self._to_disk()
        await self._to_table()
        if self.file_ok and self._file.full:
            await self._put_aside()

    async def sync(self) -> None:
        """The file's lines on the disk."""
        if self._dirty:
            await self._to_disk()

    def _add(self, line: Line) -> Line:
        """In its place, to the file and to the end of what the table waits for. Nothing comes in between."""
        line = chained(line, self.chain, self.seq + 1, self.hash)
        self.seq, self.hash = line["seq"], line["hash"]
        if self.file_ok:
            try:
                self._file.append(line)
                self._dirty = True
            except OSError as error:
                self._file_lost(error)
        if not self.file_ok and self._file_misses is None:
            self._file_misses = self.seq
        self._waiting.append(line)
        if len(self._waiting) > WAITING:
            gone = self._waiting.popleft()["seq"]
            self._table_misses = (self._table_misses[0] if self._table_misses else gone, gone)
        return line

    async def _to_disk(self) -> bool:
        async with self._disk:
            if not self.file_ok:
                return False
            self._dirty = False
            try:
                await trio.to_thread.run_sync(self._file.sync)
            except OSError as error:
                self._file_lost(error)
        return self.file_ok

    async def _to_table(self) -> None:
        async with self._table:
            while self._waiting:
                batch = list(islice(self._waiting, AT_ONCE))
                try:
                    await self._database.run(audit.append, batch)
                except Exception as error:  # a table we may not write to is no better than one that is away
                    if self.table_ok:
                        log.error("audit.table_lost", waiting=len(self._waiting), error=str(error))
                    self.table_ok = False
                    if not isinstance(error, StoreError):
                        log.error("audit.table_refuses", error=f"{type(error).__name__}: {error}")
                    return
                self.table_ok = True
                while self._waiting and self._waiting[0]["seq"] <= batch[-1]["seq"]:
                    self._waiting.popleft()
        if self._table_misses is not None:
            first, last = self._table_misses
            self._table_misses = None
            self._gap("table", first, last)

    async def _put_aside(self) -> None:
        async with self._disk:
            try:
                await trio.to_thread.run_sync(self._file.put_aside, self.seq)
            except OSError as error:
                self._file_lost(error)
        self.note(Act(action="audit.rotated"))

    def _open_again(self) -> None:
        try:
            self._file.open()
        except OSError:
            return
        self.file_ok = True
        if self._file_misses is not None and self._file_misses <= self.seq:
            self._gap("file", self._file_misses, self.seq)
        self._file_misses = None

    def _gap(self, sink: str, first: int, last: int) -> None:
        log.error("audit.gap", sink=sink, from_seq=first, to_seq=last)
        self.note(Act(action=GAP, details={"sink": sink, "from_seq": first, "to_seq": last}))

    def _file_lost(self, error: OSError) -> None:
        self._file.close()
        self.file_ok = False
        log.error("audit.file_lost", path=str(self.path), error=error.strerror or str(error))

    def _ours(self, line: Line) -> bool:
        return line.get("chain") == self.chain and isinstance(line.get("seq"), int) and "hash" in line
