"""Hostile archives are refused whole, and archives that only look so are unpacked. SEC-28, security.md §7.3."""

from __future__ import annotations

import io
import os
import shutil
import stat
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from goclaw.security.archives import ENTRIES, ArchiveRefused, unpack

LIMIT = 1 << 20
Build = Callable[[Path], None]


def zipped(*entries: tuple[str, bytes], mode: int = 0, squeeze: int = zipfile.ZIP_STORED) -> Build:
    def build(at: Path) -> None:
        with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(at, "w", squeeze) as archive:
            for name, data in entries:
                info = zipfile.ZipInfo("placeholder")
                info.filename = info.orig_filename = name  # the constructor would tidy it
                info.external_attr = mode << 16
                info.compress_type = squeeze
                archive.writestr(info, data)

    return build


def tarred(*entries: tuple[str, bytes], kind: bytes = tarfile.REGTYPE, target: str = "", how: str = "w") -> Build:
    def build(at: Path) -> None:
        with tarfile.open(at, how) as archive:  # type: ignore[call-overload]
            for name, data in entries:
                info = tarfile.TarInfo(name)
                info.type, info.linkname, info.size = kind, target, len(data)
                archive.addfile(info, io.BytesIO(data))

    return build


def lying(at: Path) -> None:
    """It says one byte and holds two megabytes."""
    zipped(("a", b"x" * (2 << 20)), squeeze=zipfile.ZIP_DEFLATED)(at)
    data = bytearray(at.read_bytes())
    for signature, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", data, data.index(signature) + place, 1)
    at.write_bytes(data)


def half(at: Path) -> None:
    zipped(("a", b"fine"), ("b", b"x" * 5000))(at)
    data = bytearray(at.read_bytes())
    data[data.index(b"xxxx")] ^= 1  # the checksum of the second entry
    at.write_bytes(data)


def cut(at: Path) -> None:
    tarred(("a", b"fine"), ("b", os.urandom(50_000)), how="w:gz")(at)
    at.write_bytes(at.read_bytes()[:-20_000])


FINE = ("fine.txt", b"fine")
HOSTILE: dict[str, tuple[Build, str]] = {
    "zip-parent": (zipped(FINE, ("../evil", b"x")), "outside"),
    "zip-parent-inside": (zipped(FINE, ("a/../../evil", b"x")), "outside"),
    "zip-absolute": (zipped(FINE, ("/etc/evil", b"x")), "absolute"),
    "zip-drive": (zipped(FINE, ("C:evil", b"x")), "absolute"),
    "zip-backslash": (zipped(FINE, ("a\\..\\evil", b"x")), "backslash"),
    "zip-nul": (zipped(FINE, ("a.txt\x00.sh", b"x")), "control character"),
    "zip-link": (zipped(FINE, ("link", b"/etc/passwd"), mode=stat.S_IFLNK | 0o777), "link"),
    "zip-device": (zipped(FINE, ("dev", b""), mode=stat.S_IFCHR | 0o666), "device"),
    "zip-twice": (zipped(FINE, ("a", b"1"), ("a", b"2")), "twice"),
    "zip-twice-spelled": (zipped(FINE, ("b/a", b"1"), ("b/./a", b"2")), "twice"),
    "zip-case": (zipped(FINE, ("Readme", b"1"), ("README", b"2")), "twice"),
    "zip-case-of-a-directory": (zipped(FINE, ("Lib/a", b"1"), ("lib/b", b"2")), "place of another"),
    "zip-unicode-form": (zipped(FINE, ("caf\u00e9", b"1"), ("cafe\u0301", b"2")), "twice"),
    "zip-below-a-file": (zipped(FINE, ("a", b"1"), ("a/b", b"2")), "place of another"),
    "zip-file-over-a-directory": (zipped(FINE, ("a/b", b"2"), ("a", b"1")), "twice"),
    "zip-size": (zipped(FINE, ("big", os.urandom(LIMIT + 1))), "bytes unpacked"),
    "zip-size-of-many": (zipped(*((f"{n}", bytes(LIMIT // 4)) for n in range(5))), "bytes unpacked"),
    "zip-ratio": (zipped(("bomb", bytes(LIMIT - 1)), squeeze=zipfile.ZIP_DEFLATED), "100 times"),
    "zip-ratio-bzip": (zipped(("bomb", bytes(LIMIT - 1)), squeeze=zipfile.ZIP_BZIP2), "100 times"),
    "zip-lying": (lying, "cannot be read"),
    "zip-checksum": (half, "cannot be read"),
    "zip-entries": (zipped(*((f"{n}", b"") for n in range(ENTRIES + 1))), "entries"),
    "zip-deep": (zipped(FINE, ("d/" * 33 + "a", b"")), "too deep"),
    "tar-parent": (tarred(FINE, ("../evil", b"x")), "outside"),
    "tar-absolute": (tarred(FINE, ("/etc/evil", b"x")), "absolute"),
    "tar-link": (tarred(("link", b""), kind=tarfile.SYMTYPE, target="/etc/passwd"), "link"),
    "tar-link-inside": (tarred(("link", b""), kind=tarfile.SYMTYPE, target="fine.txt"), "link"),
    "tar-hard-link": (tarred(("link", b""), kind=tarfile.LNKTYPE, target="../x"), "link"),
    "tar-device": (tarred(("dev", b""), kind=tarfile.CHRTYPE), "device"),
    "tar-fifo": (tarred(("pipe", b""), kind=tarfile.FIFOTYPE), "device"),
    "tar-twice": (tarred(("a", b"1"), ("a", b"2")), "twice"),
    "tar-size": (tarred(("big", os.urandom(LIMIT + 1))), "bytes unpacked"),
    "tar-ratio": (tarred(("bomb", bytes(LIMIT - 1)), how="w:xz"), "100 times"),
    "tar-cut": (cut, "cannot be read"),
    "no-archive": (lambda at: at.write_bytes(b"PK but not really") and None, "cannot be read"),
    "empty": (lambda at: at.write_bytes(b"") and None, "cannot be read"),
}
NEAR: dict[str, tuple[Build, list[str]]] = {
    "zip": (zipped(("a", b"1"), ("b/c", b"2")), ["a", "b/c"]),
    "zip-deflated": (zipped(("a", b"1" * 5000), squeeze=zipfile.ZIP_DEFLATED), ["a"]),
    "dots": (zipped(("..a", b""), ("b..", b""), (".../c", b"")), [".../c", "..a", "b.."]),
    "dot-directory": (zipped(("./a", b""), (".env", b"")), [".env", "a"]),
    "case-elsewhere": (zipped(("x/Readme", b""), ("y/README", b"")), ["x/Readme", "y/README"]),
    "directory-and-its-files": (zipped(("d/", b""), ("d/a", b"")), ["d/a"]),
    "directory-after-its-files": (zipped(("d/a", b""), ("d/", b"")), ["d/a"]),
    "colon-in-a-name": (zipped(("at 9:41", b"")), ["at 9:41"]),
    "short-and-blank": (zipped(("blank", bytes(60_000)), squeeze=zipfile.ZIP_DEFLATED), ["blank"]),
    "as-large-as-may-be": (zipped(("big", os.urandom(LIMIT))), ["big"]),
    "names-of-many-tongues": (zipped(("名前/đường.txt", b"")), ["名前/đường.txt"]),
    "nothing-in-it": (zipped(), []),
    "tar": (tarred(("a", b"1"), ("b/c", b"2")), ["a", "b/c"]),
    "tar-gz": (tarred(("a", b"1"), how="w:gz"), ["a"]),
    "tar-bz2": (tarred(("a", b"1"), how="w:bz2"), ["a"]),
    "tar-xz": (tarred(("a", b"1"), how="w:xz"), ["a"]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_whole(name: str, tmp_path: Path) -> None:
    build, says = HOSTILE[name]
    build(tmp_path / "archive")

    with pytest.raises(ArchiveRefused, match=says):
        unpack(tmp_path / "archive", tmp_path / "place", limit=LIMIT)

    assert os.listdir(tmp_path) == ["archive"]


@pytest.mark.parametrize("name", NEAR)
def test_what_only_looks_hostile_is_unpacked(name: str, tmp_path: Path) -> None:
    build, files = NEAR[name]
    build(tmp_path / "archive")

    assert unpack(tmp_path / "archive", tmp_path / "place", limit=LIMIT) == files
    assert sorted(os.listdir(tmp_path)) == ["archive", "place"]
    for file in files:
        assert (tmp_path / "place" / file).stat().st_mode & 0o7022 == 0


def test_a_place_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    zipped(FINE)(tmp_path / "archive")
    (tmp_path / "place").symlink_to("nowhere")
    with pytest.raises(FileExistsError):
        unpack(tmp_path / "archive", tmp_path / "place", limit=LIMIT)
    assert sorted(os.listdir(tmp_path)) == ["archive", "place"]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), base=st.sampled_from(["zip-case", "tar-twice", "tar-gz", "zip-deflated"]))
def test_garbage_is_refused_and_nothing_else_happens(data: st.DataObject, base: str, tmp_path: Path) -> None:
    at = tmp_path / "archive"
    ({**NEAR, **HOSTILE}[base][0])(at)
    content = bytearray(at.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    at.write_bytes(content)
    place = tmp_path / "place"
    try:
        unpack(at, place, limit=LIMIT)
    except ArchiveRefused:
        assert os.listdir(tmp_path) == ["archive"]
    else:
        for found in place.rglob("*"):
            assert not found.is_symlink()
        shutil.rmtree(place)
