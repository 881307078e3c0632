"""Finding text in files. Contract: tools.md §10."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from goclaw.tools.fs.patterns import expression
from goclaw.tools.fs.search import matches
from goclaw.tools.tool import ToolFailed
from tests.tools.fs.shelf import Shelf

MIB = 1024 * 1024


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "ws"
    texts = {
        "a.py": "import os\nfoo = 1\n\nbar = foo\n",
        "sub/b.md": "Foo fighters\r\nthe end of foo",
        ".env": "foo=secret\n",
        ".git/config": "foo",
        "node_modules/x.js": "foo",
        ".goclaw/token": "foo",
        "../out": "foo",
    }
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, newline="")
    (root / "binary").write_bytes(b"foo\0")
    (root / "large").write_bytes(b"foo\n" * MIB)
    (root / "link_in").symlink_to("a.py")
    (root / "link_out").symlink_to("../out")
    os.link(tmp_path / "out", root / "hard")
    os.mkfifo(root / "fifo")
    return root


async def lines(root: Path, **arguments: Any) -> list[str]:
    return (await Shelf(root).use("search", **arguments)).text.splitlines()


async def test_each_line_that_matches_is_shown_once_with_its_place(tree: Path) -> None:
    """SEC-13. What stands in `.goclaw` is not found."""
    assert await lines(tree, pattern="foo") == [
        "sub/b.md:2:the end of foo",
        ".env:1:foo=secret",
        "a.py:2:foo = 1",
        "a.py:4:bar = foo",
        "link_in:2:foo = 1",
        "link_in:4:bar = foo",
        "6 matches in 4 files",
    ]


async def test_a_pattern_is_of_one_line(tree: Path) -> None:
    assert await lines(tree, pattern="^foo", path="a.py") == ["a.py:2:foo = 1", "1 matches in 1 files"]
    assert await lines(tree, pattern="os$", path="a.py") == ["a.py:1:import os", "1 matches in 1 files"]
    assert await lines(tree, pattern=r"1\s*bar", path="a.py") == ["0 matches in 0 files"]
    assert await lines(tree, pattern="^$", path="a.py") == ["a.py:3:", "1 matches in 1 files"]
    assert await lines(tree, pattern="fighters", path="sub") == ["b.md:1:Foo fighters", "1 matches in 1 files"]


async def test_what_is_searched_can_be_narrowed(tree: Path) -> None:
    assert (await lines(tree, pattern="foo", glob="*.md")) == ["sub/b.md:2:the end of foo", "1 matches in 1 files"]
    assert (await lines(tree, pattern="foo", glob="sub/**"))[-1] == "1 matches in 1 files"
    assert (await lines(tree, pattern="FOO", case_sensitive=False, path="sub"))[-1] == "2 matches in 1 files"
    assert (await lines(tree, pattern="o.", regex=False)) == ["0 matches in 0 files"]
    assert (await lines(tree, pattern="foo", limit=1))[1:] == ["6 matches in 4 files, 1 shown"]


async def test_lines_around_are_shown(tree: Path) -> None:
    assert await lines(tree, pattern="foo = 1", path="a.py", context=1) == [
        *("a.py-1-import os", "a.py:2:foo = 1", "a.py-3-", "1 matches in 1 files"),
    ]


async def test_long_lines_are_cut(tree: Path) -> None:
    (tree / "minified").write_text("x" * 1000 + "needle")
    (line, _) = await lines(tree, pattern="needle")
    assert line == f"minified:1:{'x' * 400}…"


async def test_what_is_denied_is_left_out_in_silence(tree: Path) -> None:
    denied = Shelf(tree, barred=[tree / "sub", tree / "a.py", tree / ".env"])
    assert (await denied.use("search", pattern="foo")).text == "0 matches in 0 files"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"pattern": "("}, "invalid_args"),
        ({"pattern": "(?=x)"}, "invalid_args"),
        ({"pattern": r"(a)\1"}, "invalid_args"),
        ({"pattern": "x{1001}"}, "invalid_args"),
        ({"pattern": "((((x{100}){100}){100}){100})"}, "invalid_args"),
        ({"pattern": "x", "glob": "../*"}, "invalid_args"),
        ({"pattern": "x", "path": "../out"}, "denied_path"),
        ({"pattern": "x", "path": "link_out"}, "denied_path"),
        ({"pattern": "x", "path": ".goclaw"}, "denied_path"),
        ({"pattern": "x", "path": "nope"}, "not_found"),
        ({"pattern": ""}, "invalid_args"),
    ],
)
async def test_what_cannot_be_searched_is_named(arguments: dict[str, Any], code: str, tree: Path) -> None:
    assert (await Shelf(tree).use("search", **arguments)).error_code == code


@pytest.mark.parametrize("pattern", ["(x+x+)+y", "(x|xx)*y", "([^q]*q?)*z", "(.*){20}y", r"(\w+\s?)+!", "^(x*)*$y"])
async def test_no_pattern_holds_anybody_up(pattern: str, tmp_path: Path) -> None:
    """Patterns that take the machine's lifetime elsewhere; the loop goes on meanwhile. In seconds of processor."""
    (tmp_path / "x").write_bytes((b"x" * 50_000 + b"\n") * 40)
    worst, stop = 0.0, False

    async def beat() -> None:
        nonlocal worst
        while not stop:
            began = time.process_time()
            await trio.sleep(0.001)
            worst = max(worst, time.process_time() - began)

    began = time.process_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(beat)
        result = await Shelf(tmp_path).use("search", pattern=pattern)
        stop = True

    assert result.text == "0 matches in 0 files"
    assert time.process_time() - began < 5.0
    assert worst < 0.25


async def test_a_search_that_takes_too_long_ends() -> None:
    def search() -> list[int]:
        return [number for number, _, _ in matches(expression(b"x"), b"x\n" * 1000, time.monotonic() - 1)]

    with pytest.raises(ToolFailed) as late:
        await trio.to_thread.run_sync(search)
    assert late.value.code == "timeout"


async def test_many_groups_cost_nothing(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("a" * 500_000)
    began = time.monotonic()
    assert (await lines(tmp_path, pattern="(a" * 150 + "b)*" * 150))[-1] == "1 matches in 1 files"
    assert time.monotonic() - began < 5


async def test_a_pattern_whose_every_byte_is_dear_ends_within_the_wall(tmp_path: Path) -> None:
    """18,000 steps a byte: a line of 1.9 MB would take minutes, which nobody can stop in the middle."""
    (tmp_path / "one").write_text("a" * 1_900_000)
    began = time.monotonic()
    result = await Shelf(tmp_path).use("search", pattern=".{0,1000}.{0,1000}x")
    assert (result.error_code, "simpler pattern" in result.text) == ("timeout", True)
    assert time.monotonic() - began < 5


async def test_a_dear_pattern_is_searched_in_pieces_that_end_with_a_line(tmp_path: Path) -> None:
    (tmp_path / "many").write_text("ab\n" * 10_000 + "the x\n" + "ab\n" * 10_000 + "x")
    found = await lines(tmp_path, pattern="[^a]{0,1000}[^a]{0,1000}x$")
    assert found == ["many:10001:the x", "many:20002:x", "2 matches in 1 files"]
