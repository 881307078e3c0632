"""Replacing a piece of a text. Contract: tools.md §9.2, §10; durability.md §7.2."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from goclaw.tools.fs.difference import difference
from tests.tools.fs.shelf import Shelf, Texts

LINES = "".join(f"line {number}\n" for number in range(1, 21))


async def test_a_piece_is_replaced_and_the_change_shown(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(LINES)
    result = await Shelf(tmp_path).use("edit_file", path="a", old_string="line 10\n", new_string="ten\n")

    assert (tmp_path / "a").read_text() == LINES.replace("line 10\n", "ten\n")
    assert result.silent
    assert result.text.splitlines() == [
        *("Edited a (1 replacement)", "--- a", "+++ a", "@@ -7,7 +7,7 @@"),
        *(" line 7", " line 8", " line 9", "-line 10", "+ten", " line 11", " line 12", " line 13"),
    ]


async def test_all_are_replaced_when_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x\ny\nx\n")
    result = await Shelf(tmp_path).use("edit_file", path="a", old_string="x", new_string="z", replace_all=True)
    assert (tmp_path / "a").read_text() == "z\ny\nz\n"
    assert result.text.startswith("Edited a (2 replacements)\n")


async def test_bytes_that_are_no_text_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"caf\xe9\r\nx")
    await Shelf(tmp_path).use("edit_file", path="a", old_string="x", new_string="y")
    assert (tmp_path / "a").read_bytes() == b"caf\xe9\r\ny"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ({"old_string": "x", "new_string": "x"}, "invalid_args", "the same"),
        ({"old_string": "nope", "new_string": ""}, "not_found", "old_string not found"),
        ({"old_string": "x", "new_string": "y"}, "conflict", "found 2 times: use replace_all or a longer match"),
        ({"path": "gone", "old_string": "x", "new_string": "y"}, "not_found", "there is no gone"),
        ({"path": "../out", "old_string": "x", "new_string": "y"}, "denied_path", "outside"),
        ({"path": "sub", "old_string": "x", "new_string": "y"}, "denied_path", "is a directory"),
        ({"path": "binary", "old_string": "x", "new_string": "y"}, "unsupported", "binary file"),
        ({"path": "huge", "old_string": "x", "new_string": "y"}, "too_large", "10 MiB"),
        ({"path": "much", "old_string": "x", "new_string": "y" * 2**20, "replace_all": True}, "too_large", "would be"),
        ({"old_string": "", "new_string": "y"}, "invalid_args", "old_string"),
    ],
)
async def test_what_cannot_be_edited_is_named_and_stays(
    arguments: dict[str, Any], code: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "a").write_text("x x")
    (tmp_path / "much").write_text("x" * 20)
    (tmp_path / "binary").write_bytes(b"x\0")
    (tmp_path / "sub").mkdir()
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(10 * 2**20 + 1)

    result = await Shelf(tmp_path).use("edit_file", **{"path": "a", **arguments})

    assert result.error_code == code
    assert says in result.text
    assert (tmp_path / "a").read_text() == "x x"


async def test_an_agents_texts_are_edited_where_they_are_kept(tmp_path: Path) -> None:
    texts = Texts({"SOUL.md": "be kind", "AGENTS.md": "rules"})
    shelf = Shelf(tmp_path, texts)

    assert not (await shelf.use("edit_file", path="SOUL.md", old_string="kind", new_string="brief")).is_error
    refused = await shelf.use("edit_file", path="AGENTS.md", old_string="rules", new_string="none")
    hint = await shelf.use("edit_file", path="TEAM.md", old_string="already", new_string="never")

    assert texts.kept == {"SOUL.md": "be brief", "AGENTS.md": "rules"}
    assert refused.error_code == "denied_policy"
    assert hint.error_code == "not_found"


@pytest.mark.parametrize("path", ["a", "SOUL.md"])
async def test_after_a_death_the_content_says_what_became_of_an_edit(path: str, tmp_path: Path) -> None:
    """Twice would be wrong: what is put in holds what it replaces."""
    shelf, call = Shelf(tmp_path, Texts()), {"path": path, "old_string": "x", "new_string": "xx"}
    await shelf.use("write_file", path=path, content="x")
    before = await shelf.before("edit_file", new_string="xx", old_string="x", path=path)

    not_yet = await shelf.died("edit_file", before, **call)
    await shelf.use("edit_file", **call)
    done = await shelf.died("edit_file", before, **call)
    await shelf.use("write_file", path=path, content="other")
    lost = await shelf.died("edit_file", before, **call)

    assert (not_yet[0], done, lost[0]) == (False, (True, f"Edited {path}"), None)


@settings(max_examples=100, deadline=None)
@given(
    lines=st.lists(st.sampled_from(["a", "b", "key", "key key", "", "xkeyx"]), min_size=1, max_size=40),
    new=st.sampled_from(["", "other", "two\nlines", "\n\n", "key\nkey"]),
)
def test_a_diff_turns_the_old_text_into_the_new_one(
    lines: list[str], new: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = "\n".join(["key", *lines, ""])
    shown = difference("f", text.encode(), b"key", new.encode())
    if shown.endswith("…"):
        return
    place = tmp_path_factory.mktemp("patched")
    (place / "f").write_text(text)
    subprocess.run(["patch", "-p0", "-s"], cwd=place, input=f"{shown}\n", text=True, check=True, capture_output=True)
    assert (place / "f").read_text() == text.replace("key", new)


def test_a_diff_of_a_large_file_takes_no_time_to_speak_of() -> None:
    text = b"".join(b"line %d of many\n" % number for number in range(300_000))
    for old in (b"line 299999 of", b"of many", b"line 1 of many\n" + text[15:100_000]):
        began = time.process_time()
        assert len(difference("f", text, old, b"!")) <= 2001
        assert time.process_time() - began < 2.0


async def test_very_many_replacements_in_one_line_take_no_time(tmp_path: Path) -> None:
    """Two million in a line of 2 MB took minutes, and its thread could not be stopped."""
    (tmp_path / "a.txt").write_text("a" * 2_000_000)
    with trio.fail_after(10):
        said = await Shelf(tmp_path).use("edit_file", path="a.txt", old_string="a", new_string="bb", replace_all=True)
    assert said.text.startswith("Edited a.txt (2000000 replacements)")
