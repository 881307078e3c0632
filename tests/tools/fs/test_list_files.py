"""Listing a directory of the workspace. Contract: tools.md §10."""

from __future__ import annotations

import os
from itertools import repeat
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from goclaw.security.paths import Workspace
from goclaw.tools.fs.tree import below
from goclaw.tools.ledger import ToolResult
from tests.tools.fs.shelf import Shelf, Texts


async def listed(root: Path, **arguments: Any) -> ToolResult:
    return await Shelf(root).use("list_files", **arguments)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.txt", "B.txt", "ä.txt", ".env", "sub/deep/c", "sub/.git/config", ".goclaw/token", "z/a"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to("sub")
    return tmp_path


async def test_directories_come_first_and_names_in_byte_order(tree: Path) -> None:
    result = await listed(tree)
    assert result.text.splitlines() == [
        "[DIR] sub/",
        "[DIR] z/",
        "[FILE] B.txt (5)",
        "[FILE] b.txt (5)",
        "[FILE] link (3)",
        "[FILE] ä.txt (6)",
    ]


async def test_recursion_goes_as_deep_as_asked_and_not_into_links(tree: Path) -> None:
    whole = (await listed(tree, recursive=True)).text.splitlines()
    assert whole[:5] == ["[DIR] sub/", "[DIR] sub/deep/", "[FILE] sub/deep/c (10)", "[DIR] z/", "[FILE] z/a (3)"]
    assert len(whole) == 9

    flat = (await listed(tree, recursive=True, max_depth=1)).text
    assert "deep" not in flat


async def test_hidden_files_are_shown_when_asked_but_never_those_of_the_gateway(tree: Path) -> None:
    """SEC-13. `.goclaw` is not in the list."""
    shown = (await listed(tree, recursive=True, show_hidden=True)).text
    assert "[FILE] .env" in shown
    assert "[FILE] sub/.git/config" in shown
    assert ".goclaw" not in shown


async def test_what_is_beyond_the_limit_is_counted(tree: Path) -> None:
    assert (await listed(tree, limit=2)).text.splitlines() == ["[DIR] sub/", "[DIR] z/", "… 4 more"]
    assert "more" not in (await listed(tree, limit=6)).text


async def test_an_empty_directory_says_so(tmp_path: Path) -> None:
    assert (await listed(tmp_path)).text == "(empty)"


async def test_names_that_are_no_text_or_would_forge_lines_are_shown_harmlessly(tmp_path: Path) -> None:
    for name in (b"latin\xe9", b"x\n[DIR] forged", b"\x1b[2J"):
        os.close(os.open(os.fsencode(tmp_path) + b"/" + name, os.O_CREAT))

    text = (await listed(tmp_path)).text

    assert len(text.splitlines()) == 3
    assert "[FILE] latin\ufffd (0)" in text
    assert msgspec.json.decode(msgspec.json.encode(text)) == text


async def test_a_link_leads_to_a_directory_inside_but_not_outside(tree: Path) -> None:
    (tree / "out").symlink_to("..")
    assert (await listed(tree, path="link")).text == "[DIR] deep/"
    assert (await listed(tree, path="out")).error_code == "denied_path"


@pytest.mark.parametrize(
    ("path", "code"),
    [("nope", "not_found"), ("b.txt", "not_found"), ("..", "denied_path"), (".goclaw", "denied_path")],
)
async def test_what_is_no_directory_is_named(path: str, code: str, tree: Path) -> None:
    assert (await listed(tree, path=path)).error_code == code


async def test_hidden_entries_and_those_of_all_directories_are_looked_at_once_and_no_more(tmp_path: Path) -> None:
    for name in (".a", ".b", "sub/.c", "sub/d", "sub/e", "sub/f"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def look(times: int) -> list[str]:
        workspace = Workspace(tmp_path)
        with workspace.open(".", directory=True) as directory:
            return [found.path for found in below(workspace, directory, repeat(None, times))]

    found = [len(await trio.to_thread.run_sync(look, times)) for times in (0, 3, 8, 100)]

    assert found == [0, 1, 4, 4], "three looks see what is at the top"


async def test_what_is_denied_is_left_out_in_silence(tree: Path) -> None:
    shelf = Shelf(tree, barred=[tree / "sub/deep", tree / "b.txt"])
    shown = (await shelf.use("list_files", recursive=True)).text
    assert "deep" not in shown
    assert "b.txt (" not in shown
    assert "B.txt" in shown


async def test_an_agents_texts_are_listed_among_the_files(tree: Path) -> None:
    (tree / "SOUL.md").write_text("on the disk, and nobody reads it")
    texts = Texts({"SOUL.md": "soul", "memory/2026/11.md": "eleven", "memory/.prev/11.md": "ten", "MEMORY.md": ""})

    top = (await Shelf(tree, texts).use("list_files")).text.splitlines()
    memory = (await Shelf(tree, texts).use("list_files", path="memory", recursive=True)).text.splitlines()

    assert top[:3] == ["[DIR] memory/", "[DIR] sub/", "[DIR] z/"]
    assert "[FILE] SOUL.md (4)" in top
    assert "[FILE] MEMORY.md (0)" in top
    assert len(top) == 9
    assert memory == ["[DIR] 2026/", "[FILE] 2026/11.md (6)"]
    assert (await Shelf(tree, texts).use("list_files", path="nope")).error_code == "not_found"
