"""The audit as a file of JSON lines: added to, never changed, put aside at 100 MB. Contract: observability.md §12."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import zlib
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import msgspec

LARGEST = 100 * 1000 * 1000  # bytes
TAIL = 16 * 1024 * 1024  # bytes at the end, where the last line of a chain is looked for
LONGEST = 64 * 1024  # bytes of a line
TORN = b"?"  # no line
ASIDE = re.compile(r"-(\d{1,19})\.jsonl(?:\.gz)?")


def place(home: Path) -> Path:
    return home / "logs" / "audit.jsonl"


class AuditFile:
    """Open for adding. Not for two processes at once: the data directory's lock sees to that."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = -1
        self._size = 0

    def open(self) -> None:
        """Raises OSError. Half a line at the end is from a crash, was never acknowledged, and goes."""
        self.close()
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            size = os.fstat(file).st_size
            tail = os.pread(file, LONGEST, max(0, size - LONGEST))
            if tail and not tail.endswith(b"\n"):
                size -= len(tail) - (tail.rfind(b"\n") + 1)
                os.ftruncate(file, size)
        except OSError:
            os.close(file)
            raise
        self._file, self._size = file, size

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def append(self, line: dict[str, Any]) -> None:
        """The whole line or nothing. Raises OSError, and is closed then."""
        raw = msgspec.json.encode(line, order="sorted") + b"\n"
        try:
            if os.write(self._file, raw) != len(raw):
                os.ftruncate(self._file, self._size)
                raise OSError("no room")
        except OSError:
            self.close()
            raise
        self._size += len(raw)

    def sync(self) -> None:
        """On the disk. Raises OSError."""
        os.fsync(self._file)

    @property
    def full(self) -> bool:
        return self._size > LARGEST

    def put_aside(self, seq: int) -> None:
        """Begin a new file; the old one is kept, packed, under the number of its last line. Raises OSError."""
        old = self.path.with_name(f"{self.path.stem}-{seq}.jsonl")
        self.sync()
        os.replace(self.path, old)
        self.open()
        packed = old.with_name(old.name + ".gz")
        with old.open("rb") as source, open(os.open(packed, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as raw:
            with gzip.GzipFile(fileobj=raw, mode="wb") as target:
                shutil.copyfileobj(source, target, 1024 * 1024)
            raw.flush()
            os.fsync(raw.fileno())
        old.unlink()


def files_of(path: Path) -> list[Path]:
    """The file and those that were put aside before it, oldest first: numbered by their last lines, packed or not."""
    aside: dict[int, Path] = {}
    for found in sorted(path.parent.glob(f"{path.stem}-*.jsonl*"), reverse=True):  # what is packed gives way: it may
        number = ASIDE.fullmatch(found.name.removeprefix(path.stem))  # be half done
        if number is not None:
            aside[int(number[1])] = found
    return [*(aside[number] for number in sorted(aside)), path]


def lines_of(path: Path, last: int | None = None) -> Iterator[dict[str, Any]]:
    """Of a file, packed or not; `last`: of its last so many bytes. One that is no JSON object comes as an empty one,
    and so does what cannot be unpacked.

    Raises OSError.
    """
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        if last is not None and path.stat().st_size > last:
            file.seek(-last, os.SEEK_END)
            file.readline(LONGEST)
        while raw := _line(file):
            try:
                yield msgspec.json.decode(raw, type=dict[str, Any])
            except (msgspec.MsgspecError, UnicodeDecodeError):
                yield {}
            if raw is TORN:
                return


def _line(file: BufferedIOBase) -> bytes:
    try:
        return file.readline(LONGEST)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return TORN
