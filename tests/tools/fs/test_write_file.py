"""Writing a file of the workspace. Contract: tools.md §9.2, §10; durability.md §7.2."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from goclaw.tools.ledger import Media
from tests.tools.fs.shelf import Shelf, Texts


async def test_a_file_is_written_and_its_directories_with_it(tmp_path: Path) -> None:
    result = await Shelf(tmp_path).use("write_file", path="new/deep/c.txt", content="một")
    assert result.text == "Wrote 5 bytes to new/deep/c.txt"
    assert (tmp_path / "new/deep/c.txt").read_text() == "một"
    assert (tmp_path / "new/deep/c.txt").stat().st_mode & 0o777 == 0o644


async def test_what_is_appended_follows_what_is_there(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    for line in ("one\n", "two\n"):
        await shelf.use("write_file", path="log", content=line, append=True)
    assert (tmp_path / "log").read_text() == "one\ntwo\n"


async def test_half_a_pair_is_no_reason_to_break(tmp_path: Path) -> None:
    assert (await Shelf(tmp_path).use("write_file", path="a", content="x\ud800")).text == "Wrote 2 bytes to a"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"path": "sub", "content": ""}, "conflict"),
        ({"path": ".", "content": ""}, "conflict"),
        ({"path": "../x", "content": ""}, "denied_path"),
        ({"path": ".goclaw/x", "content": ""}, "denied_path"),
        ({"path": "file/x", "content": ""}, "not_found"),
        ({"path": "x", "content": "é" * (3 * 2**20)}, "too_large"),
        ({"path": "x", "content": "e" * (5 * 2**20 + 1)}, "invalid_args"),
        ({"path": "", "content": ""}, "invalid_args"),
        ({"path": "x"}, "invalid_args"),
    ],
)
async def test_what_cannot_be_written_is_named(arguments: dict[str, Any], code: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "file").touch()
    for append in (False, True):
        assert (await Shelf(tmp_path).use("write_file", **arguments, append=append)).error_code == code
    assert not (tmp_path / "x").exists()


async def test_a_file_is_delivered_once_and_only_to_whoever_hears_of_it(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, channel="telegram")
    first = await shelf.use("write_file", path="a.csv", content="1", deliver=True)
    again = await shelf.use("write_file", path="./a.csv", content="2", deliver=True)
    alone = await Shelf(tmp_path, run_kind="cron").use("write_file", path="a.csv", content="3", deliver=True)

    assert first.media == (Media(path="a.csv", mime="text/csv"),)
    assert again.media == ()
    assert (alone.media, "not delivered" in alone.text, alone.is_error) == ((), True, False)


async def test_an_agents_texts_go_where_they_are_kept(tmp_path: Path) -> None:
    texts = Texts({"memory/x.md": "old", "SOUL.md": "s"})
    shelf = Shelf(tmp_path, texts)

    said = (await shelf.use("write_file", path="memory/x.md", content="new")).text
    await shelf.use("write_file", path="SOUL.md", content="oul", append=True)
    await shelf.use("write_file", path="memory/y.md", content="first", append=True)
    refused = await shelf.use("write_file", path="AGENTS.md", content="mine now")

    assert texts.kept == {"memory/x.md": "new", "SOUL.md": "soul", "memory/y.md": "first"}
    assert said.startswith("Wrote 3 bytes to memory/x.md\nWarning")
    assert said.endswith("\nold")
    assert refused.error_code == "denied_policy"
    assert "managed by the administrator" in refused.text
    assert os.listdir(tmp_path) == []


async def test_a_long_text_that_is_replaced_is_cut(tmp_path: Path) -> None:
    texts = Texts({"memory/x.md": "o" * 5000})
    said = (await Shelf(tmp_path, texts).use("write_file", path="memory/x.md", content="new")).text
    assert said.count("o" * 4000) == 1
    assert "o" * 4001 not in said


async def test_who_may_not_write_in_a_group_does_not(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, Texts(closed="plan"))
    assert (await shelf.use("write_file", path="plan.md", content="")).error_code == "denied_policy"
    assert not (await shelf.use("write_file", path="other.md", content="")).is_error
    assert not (tmp_path / "plan.md").exists()


@pytest.mark.parametrize("path", ["a", "memory/a"])
@pytest.mark.parametrize("old", [None, "old"])
@pytest.mark.parametrize("append", [False, True])
async def test_after_a_death_the_content_says_what_became_of_a_call(
    path: str, old: str | None, append: bool, tmp_path: Path
) -> None:
    shelf, call = Shelf(tmp_path, Texts()), {"path": path, "content": "new", "append": append}
    if old is not None:
        await shelf.use("write_file", path=path, content=old)
    before = await shelf.before("write_file", **call)
    assert len(before) <= 255

    not_yet = await shelf.died("write_file", before, **call)
    await shelf.use("write_file", **call)
    done = await shelf.died("write_file", before, **call)
    await shelf.use("write_file", path=path, content="somebody else's")
    lost = await shelf.died("write_file", before, **call)

    assert not_yet[0] is False
    assert done == (True, f"Wrote 3 bytes to {path}")
    assert lost[0] is None


async def test_what_became_of_a_line_added_to_a_large_file_is_unknown(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        file.truncate(11 * 2**20)
    shelf, call = Shelf(tmp_path), {"path": "log", "content": "line", "append": True}
    before = await shelf.before("write_file", **call)

    assert (await shelf.died("write_file", before, **call))[0] is False
    await shelf.use("write_file", **call)
    assert (await shelf.died("write_file", before, **call))[0] is None
