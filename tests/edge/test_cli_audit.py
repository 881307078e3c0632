"""`goclaw audit verify --file` reads one file, also one that was put aside. Contract: security.md §11.1, SEC-41."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from typer.testing import CliRunner

from goclaw.edge.cli.commands import app
from goclaw.edge.cli.options import Failure, Options
from goclaw.security.audit import FIRST, Act, chained, entry
from goclaw.stores.audit_file import AuditFile, files_of

TORN = {"chain": "", "seq": 1, "why": "hash"}  # what is no line has no chain


@pytest.fixture
def aside(tmp_path: Path) -> tuple[Path, Path]:
    """A file of five lines that was put aside, and a second one whose chain goes on from it."""
    file, before = AuditFile(tmp_path / "audit.jsonl"), FIRST
    file.open()
    for seq in range(1, 11):
        line = chained(entry(Act(action="x.y", subject=f"s{seq}"), datetime.now(UTC)), "node-a", seq, before)
        before = line["hash"]
        file.append(line)
        if seq % 5 == 0:
            file.put_aside(seq)
    file.close()
    first, second, _ = files_of(tmp_path / "audit.jsonl")
    return first, second


def verified(file: Path) -> tuple[int, Any]:
    words = ["audit", "verify", "--json", "--file", str(file)]
    done = CliRunner().invoke(app, words, obj=Options(lambda *_: 0), catch_exceptions=False)
    return done.exit_code, json.loads(done.stdout)["broken"]


def test_a_file_that_was_put_aside_is_verified_by_itself(aside: tuple[Path, Path]) -> None:
    """SEC-41. Also one whose chain began in the file before."""
    assert [file.name for file in aside] == ["audit-5.jsonl.gz", "audit-10.jsonl.gz"]
    assert [verified(file) for file in aside] == [(0, None), (0, None)]


@pytest.mark.parametrize("which", [0, 1])
def test_a_touch_of_what_was_put_aside_shows(aside: tuple[Path, Path], which: int) -> None:
    """SEC-41. A byte, a line that is gone, half of the file, and an unpacked copy of it."""
    file, seq = aside[which], 5 * which
    whole = gzip.decompress(file.read_bytes())
    lines = whole.splitlines(keepends=True)

    copy = file.with_suffix("")
    copy.write_bytes(whole.replace(b'"subject":"s%d"' % (seq + 3), b'"subject":"t%d"' % (seq + 3)))
    assert verified(copy) == (1, {"chain": "node-a", "seq": seq + 3, "why": "hash"})
    file.write_bytes(gzip.compress(b"".join([*lines[:2], *lines[3:]])))
    assert verified(file) == (1, {"chain": "node-a", "seq": seq + 3, "why": "gap"})
    file.write_bytes(gzip.compress(whole)[:-20])
    assert verified(file) == (1, TORN)


def test_what_cannot_be_unpacked_is_a_break_and_no_crash(aside: tuple[Path, Path]) -> None:
    packed = aside[0].read_bytes()
    for broken in (b"not packed", packed[:30] + b"\0\0\0\0" + packed[34:], packed[:-8] + b"\0" * 8):
        aside[0].write_bytes(broken)
        assert verified(aside[0]) == (1, {**TORN, "seq": ANY})


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="nothing cannot be read"):
        verified(tmp_path / "nothing")
