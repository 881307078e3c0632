"""Archives from outside: unpacked whole below one directory, or refused whole with nothing left.

Contract: security.md §7.3. Blocking: for threads.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import tarfile
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

RATIO = 100  # unpacked to packed, at most; §7.3
SPARE = 64 * 1024  # bytes that may unpack from anything: a short file of blanks is no bomb; our decision
ENTRIES = 10_000  # our decision, with the next
DEPTH = 32  # directories
NAME = 255  # bytes of one name, and …
PATH = 1024  # … of a whole path
CHUNK = 1 << 16
DRIVE = re.compile(r"[A-Za-z]:")
UNFIT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class ArchiveRefused(Exception):
    """What is wrong with it, and where. Nothing of it is left on disk."""


@dataclass(frozen=True)
class Entry:
    name: str
    is_dir: bool
    size: int  # as declared
    stream: IO[bytes] | None


def unpack(archive: Path, place: Path, *, limit: int) -> list[str]:
    """Unpack a ZIP or a tar (plain, gzip, bzip2, xz) into the new directory `place`; the paths of its files.

    `limit` is the bytes all of it may have unpacked. Raises ArchiveRefused, FileExistsError, OSError.
    """
    if os.path.lexists(place):
        raise FileExistsError(str(place))
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=place.parent))  # 0700, and of nobody's choosing
    try:
        files = _unpack(archive, fresh, limit)
        fresh.rename(place)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, RuntimeError, NotImplementedError) as error:
        raise ArchiveRefused(f"it cannot be read: {error}") from None
    except (ValueError, LookupError) as error:  # headers that say nonsense
        raise ArchiveRefused(f"it cannot be read: {type(error).__name__}") from None
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise ArchiveRefused("it cannot be read: it leads before its own beginning") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return files


def _unpack(archive: Path, fresh: Path, limit: int) -> list[str]:
    packed = archive.stat().st_size
    budget = _Budget(limit, max(SPARE, packed * RATIO))
    names, files = _Names(), []
    for entry in _entries(archive):
        path = names.take(entry)
        if entry.is_dir:
            (fresh / path).mkdir(mode=0o755, parents=True, exist_ok=True)
            continue
        budget.declared(entry)
        (fresh / path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with (fresh / path).open("xb") as file:
            while entry.stream is not None and (data := entry.stream.read(CHUNK)):
                budget.spend(len(data), entry.name)
                file.write(data)
        files.append(path)
    return sorted(files)


class _Budget:
    """How much may still be unpacked, whatever headers claim."""

    def __init__(self, limit: int, ratio: int) -> None:
        self._limit, self._ratio = limit, ratio
        self._spent = self._said = 0

    def declared(self, entry: Entry) -> None:
        self._said += entry.size
        self._judge(self._said, entry.name)

    def spend(self, size: int, name: str) -> None:
        self._spent += size
        self._judge(self._spent, name)

    def _judge(self, size: int, name: str) -> None:
        if size > self._limit:
            raise ArchiveRefused(f"more than {self._limit} bytes unpacked, at {name[:NAME]!r}")
        if size > self._ratio:
            raise ArchiveRefused(f"more than {RATIO} times its size unpacked, at {name[:NAME]!r}")


class _Names:
    """Paths that were taken: no two are one where case or Unicode form does not count, and none lies below a file."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._directories: dict[str, str] = {}  # as folded → as written
        self._listed: set[str] = set()
        self._count = 0

    def take(self, entry: Entry) -> str:
        """The path of an entry in its plain form. Raises ArchiveRefused."""
        self._count += 1
        if self._count > ENTRIES:
            raise ArchiveRefused(f"more than {ENTRIES} entries")
        shown, steps = repr(entry.name[:NAME]), _steps(entry)
        for end in range(1, len(steps) + (1 if entry.is_dir else 0)):
            above = "/".join(steps[:end])
            key = _folded(above)
            if key in self._files or self._directories.setdefault(key, above) != above:
                raise ArchiveRefused(f"{shown} has the place of another entry")
        path = "/".join(steps)
        key = _folded(path)
        if key in self._listed or (not entry.is_dir and (key in self._files or key in self._directories)):
            raise ArchiveRefused(f"{shown} is there twice, but for the case of letters")
        self._listed.add(key)
        if not entry.is_dir:
            self._files.add(key)
        return path


def _steps(entry: Entry) -> list[str]:
    name, shown = entry.name, repr(entry.name[:NAME])
    if UNFIT.search(name) or "\\" in name:
        raise ArchiveRefused(f"{shown} holds a control character or a backslash")
    if name.startswith("/") or DRIVE.match(name):
        raise ArchiveRefused(f"{shown} is absolute")
    steps = [step for step in name.split("/") if step not in ("", ".")]
    if ".." in steps:
        raise ArchiveRefused(f"{shown} leads outside")
    if not steps and not entry.is_dir:
        raise ArchiveRefused(f"{shown} is no name")
    if len(steps) > DEPTH or len(name.encode()) > PATH or any(len(step.encode()) > NAME for step in steps):
        raise ArchiveRefused(f"{shown} is too long or too deep")
    return steps


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _entries(archive: Path) -> Iterator[Entry]:
    return _of_zip(archive) if zipfile.is_zipfile(archive) else _of_tar(archive)


def _of_zip(archive: Path) -> Iterator[Entry]:
    with zipfile.ZipFile(archive) as opened:
        if len(opened.infolist()) > ENTRIES:
            raise ArchiveRefused(f"more than {ENTRIES} entries")
        for info in opened.infolist():
            mode = info.external_attr >> 16
            name = info.orig_filename  # `filename` ends at a NUL
            if info.flag_bits & 1:
                raise ArchiveRefused(f"{name[:NAME]!r} is encrypted")
            kind = stat.S_IFMT(mode)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ArchiveRefused(f"{name[:NAME]!r} is a link or a device")
            if info.is_dir() or kind == stat.S_IFDIR:
                yield Entry(name, True, 0, None)
                continue
            with opened.open(info) as stream:
                yield Entry(name, False, info.file_size, stream)


def _of_tar(archive: Path) -> Iterator[Entry]:
    with tarfile.open(archive, "r:*") as opened:
        for info in opened:
            if not (info.isreg() or info.isdir()) or info.issparse():
                raise ArchiveRefused(f"{info.name[:NAME]!r} is a link or a device")
            if info.isdir():
                yield Entry(info.name, True, 0, None)
                continue
            yield Entry(info.name, False, info.size, opened.extractfile(info))
