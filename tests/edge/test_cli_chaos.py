"""A plan in a file, as the command line reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from goclaw.edge.cli.chaos import read
from goclaw.edge.cli.options import Exit, Failure


def test_a_plan_is_json5(tmp_path: Path) -> None:
    file = tmp_path / "plan.json5"
    file.write_text("{ name: 'x', // a plan\n items: [], }")

    assert read(file) == {"name": "x", "items": []}


@pytest.mark.parametrize(
    ("text", "says"),
    [(None, "No such file"), (b"{", "at line 1: Unclosed"), (b"[]", "expected an object"), (b"\xff", "not UTF-8")],
)
def test_what_is_no_plan_is_refused_in_one_sentence(tmp_path: Path, text: bytes | None, says: str) -> None:
    file = tmp_path / "plan.json5"
    if text is not None:
        file.write_bytes(text)

    with pytest.raises(Failure, match=says) as failed:
        read(file)
    assert failed.value.code == Exit.USAGE
    assert str(file) in str(failed.value)
