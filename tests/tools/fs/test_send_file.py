"""Sending a file with the answer. Contract: tools.md §10."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from goclaw.security.walk import Root
from goclaw.tools.ledger import Media
from tests.tools.fs.shelf import Shelf


async def test_a_file_goes_out_once_a_run(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/report.pdf").write_text("x")
    shelf = Shelf(tmp_path, channel="telegram")

    first = await shelf.use("send_file", path="sub/report.pdf", caption="as asked")
    again = await shelf.use("send_file", path=f"{tmp_path}/sub/./report.pdf")

    assert msgspec.json.decode(first.text) == {"status": "sent", "media": "report.pdf"}
    assert first.media == (Media(path="sub/report.pdf", mime="application/pdf", caption="as asked"),)
    assert (msgspec.json.decode(again.text), again.media) == ({"status": "already_delivered"}, ())


async def test_a_written_file_that_was_delivered_is_not_sent_again(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, channel="telegram")
    await shelf.use("write_file", path="a.txt", content="x", deliver=True)
    assert "already_delivered" in (await shelf.use("send_file", path="a.txt")).text


@pytest.mark.parametrize(
    ("path", "code"),
    [("nope", "not_found"), ("../out", "denied_path"), ("sub", "denied_path"), ("huge", "too_large")],
)
async def test_what_cannot_be_sent_is_named(path: str, code: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(50 * 2**20 + 1)
    assert (await Shelf(tmp_path, channel="telegram").use("send_file", path=path)).error_code == code


async def test_where_nobody_hears_the_end_nothing_can_be_sent(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert (await Shelf(tmp_path, run_kind="subagent").use("send_file", path="a")).error_code == "unavailable"
    assert (await Shelf(tmp_path, run_kind="chat").use("send_file", path="a")).media


async def test_a_directory_that_the_policy_adds_is_not_sent_from(tmp_path: Path) -> None:
    """SEC 12.2: only what lies in the run's own workspace."""
    (tmp_path / "w").mkdir()
    (tmp_path / "more").mkdir()
    (tmp_path / "more/a").write_text("x")
    shelf = Shelf(tmp_path / "w", channel="telegram")
    shelf.ctx = replace(shelf.ctx, workspace=shelf.workspace.beside(lambda: [Root(tmp_path / "more")]))

    assert not (await shelf.use("read_file", path=f"{tmp_path}/more/a")).is_error
    assert (await shelf.use("send_file", path=f"{tmp_path}/more/a")).error_code == "denied_path"
