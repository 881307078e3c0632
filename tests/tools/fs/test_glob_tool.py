"""Finding files by name. Contract: tools.md §10."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from goclaw.tools.fs.patterns import matcher
from tests.tools.fs.shelf import Shelf


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("*.py", "a.py", True),
        ("*.py", ".py", False),
        ("*.py", "d/a.py", False),
        ("**/*.py", "a.py", True),
        ("**/*.py", "d/e/a.py", True),
        ("**/*.py", ".d/a.py", False),
        ("a/**", "a/b/c", True),
        ("a/**", "a", False),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a**b", "a/b", False),
        ("**", "a/b", True),
        ("**", "a/.b", False),
        ("{a,b}/*.{py,md}", "b/x.md", True),
        ("{a,b}/*.{py,md}", "c/x.md", False),
        ("{a,{b,c}}d", "cd", True),
        ("{.env,x}", ".env", True),
        ("a{b", "a{b", True),
        ("a,b}", "a,b}", True),
        (".*", ".env", True),
        (".*", "env", False),
        ("?env", ".env", False),
        ("?env", "xenv", True),
        ("[!a]*", "bc", True),
        ("[!a]*", "ab", False),
        ("[!a]*", ".b", False),
        ("[a-c]x", "bx", True),
        ("[a-c]x", "dx", False),
        ("[]]", "]", True),
        ("[", "[", True),
        ("\\*", "*", True),
        ("\\*", "a", False),
        ("**/.git/**", "x/.git/y", True),
        ("名*", "名前", True),
        ("a.c", "abc", False),
        ("(a|b)+$", "a", False),
        ("A", "a", False),
    ],
)
def test_a_pattern_means_what_shells_mean(pattern: str, path: str, fits: bool) -> None:
    assert matcher(pattern)(path) is fits


def test_no_pattern_takes_more_time_than_the_path_is_long() -> None:
    began = time.process_time()
    for pattern in ("*a" * 100 + "b", "**/" * 100 + "b", "{a,*}" * 50 + "b", "{" * 250 + "a" + "}" * 250):
        assert matcher(pattern)("a" * 4000) is False
    assert time.process_time() - began < 1.0


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for age, name in enumerate(("new.py", "sub/old.py", ".env", ".github/ci.yml", "sub/deep/x.md", ".goclaw/token")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    return tmp_path


async def test_the_newest_come_first(tree: Path) -> None:
    assert (await Shelf(tree).use("glob", pattern="**")).text == "new.py\nsub/old.py\nsub/deep/x.md"
    assert (await Shelf(tree).use("glob", pattern="**/*.py", limit=1)).text == "new.py\n… 1 more"
    assert (await Shelf(tree).use("glob", pattern="*", path="sub")).text == "old.py"


async def test_hidden_files_are_found_when_named_but_never_those_of_the_gateway(tree: Path) -> None:
    """SEC-13. No pattern finds `.goclaw`."""
    assert (await Shelf(tree).use("glob", pattern=".*")).text == ".env"
    assert (await Shelf(tree).use("glob", pattern="{.github,sub}/*")).text == "sub/old.py\n.github/ci.yml"
    assert "nothing matches" in (await Shelf(tree).use("glob", pattern=".goclaw/**")).text
    denied = Shelf(tree, barred=[tree / "sub"])
    assert (await denied.use("glob", pattern="**")).text == "new.py"


@pytest.mark.parametrize(
    ("pattern", "path", "code"),
    [
        ("/etc/*", ".", "invalid_args"),
        ("../*", ".", "invalid_args"),
        ("a/../../*", ".", "invalid_args"),
        ("[z-a]", ".", "invalid_args"),
        ("x" * 501, ".", "invalid_args"),
        ("*", "..", "denied_path"),
        ("*", ".goclaw", "denied_path"),
        ("*", "nope", "not_found"),
        ("*", "new.py", "not_found"),
    ],
)
async def test_what_is_no_pattern_or_place_is_named(pattern: str, path: str, code: str, tree: Path) -> None:
    assert (await Shelf(tree).use("glob", pattern=pattern, path=path)).error_code == code


async def test_links_are_not_descended_into(tree: Path) -> None:
    (tree / "out").symlink_to("..")
    (tree / "in").symlink_to("sub")
    assert (await Shelf(tree).use("glob", pattern="{in,out}/**")).text.startswith("nothing matches")
