"""What source files declare. Contract: tools.md §10."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from goclaw.security.paths import Workspace
from goclaw.tools.fs.maps import FRESH, LARGEST, Maps
from goclaw.tools.fs.symbols import MOST, language_of, symbols_of
from tests.tools.fs.shelf import Shelf


@pytest.mark.parametrize(
    ("language", "text", "symbols"),
    [
        ("py", "LIMIT = 3\nclass Box:\n    def seal(self): ...\nasync def main(): ...\nx = 1\n", "LIMIT Box seal main"),
        ("go", "package a\nfunc Serve() {}\nfunc (s *Server) Close() {}\ntype Server struct{}\n", "Serve Close Server"),
        ("js", "export default function run() {}\nclass A {}\nconst go = () => 1\nif (x) {}\n", "run A go"),
        ("ts", "export interface Row {}\nexport type Id = string\nenum E {}\n", "Row Id E"),
        ("sh", "function up {\n}\ndown() {\n}\necho x\n", "up down"),
        ("md", "# One\ntext\n## Two words\n", "One|Two words"),
        ("json", '{\n  "name": 1,\n  "deep": {\n      "not": 2\n  }\n}', "name deep"),
        ("yaml", "name: x\n  inner: y\nother:\n", "name other"),
    ],
)
def test_what_a_file_declares(language: str, text: str, symbols: str) -> None:
    wanted = symbols.split("|") if "|" in symbols else symbols.split()
    assert symbols_of(language, text) == wanted


def test_no_more_than_forty_of_a_file() -> None:
    assert len(symbols_of("py", "".join(f"def f{n}(): ...\n" for n in range(100)))) == MOST


@pytest.mark.parametrize(
    "hostile",
    ["func (" + "(" * 100_000, '{"' + "a" * 500_000, " " * 500_000 + "def x", "#" * 300_000, "export " * 50_000],
)
def test_no_line_takes_long(hostile: str) -> None:
    for language in ("go", "py", "js", "md", "json", "yaml", "sh"):
        symbols_of(language, hostile)  # the suite's own timeout is the limit


@pytest.mark.parametrize(("path", "language"), [("a/B.PY", "py"), ("x.tsx", "ts"), ("Makefile", ""), (".md", "md")])
def test_a_language_is_known_by_the_name(path: str, language: str) -> None:
    assert language_of(path) == language


async def test_the_best_come_first_and_ties_by_path(tmp_path: Path) -> None:
    """+5 for the path, +3 for every symbol."""
    root = tmp_path / "w"
    (root / "budget").mkdir(parents=True)
    (root / "budget/a.py").write_text("def other(): ...\n")
    (root / "two.py").write_text("def budget_one(): ...\ndef budget_two(): ...\n")
    (root / "b_budget.md").write_text("# Nothing\n")
    (root / "no.py").write_text("def other(): ...\n")

    said = (await Shelf(root).use("repo_map", query="BUDGET")).text.splitlines()

    assert [line.partition(" ")[0] for line in said[1:]] == ["two.py", "b_budget.md", "budget/a.py"]
    assert said[0].startswith("# built 20")
    assert "3 of 4 files" in said[0]
    assert said[1] == "two.py [py, 44 bytes] budget_one, budget_two"


async def test_what_is_not_looked_at(tmp_path: Path) -> None:
    root, outside = tmp_path / "w", tmp_path / "outside.py"
    outside.write_text("def secret(): ...\n")
    for place in (".git", "node_modules", "vendor", ".goclaw", "src"):
        (root / place).mkdir(parents=True)
        (root / place / "a.py").write_text("def a(): ...\n")
    (root / "large.py").write_text("#" * (LARGEST + 1))
    (root / "binary.py").write_bytes(b"def a(): ...\n\0")
    (root / "link.py").symlink_to(outside)
    os.link(outside, root / "second.py")

    said = (await Shelf(root).use("repo_map")).text.splitlines()

    assert [line.partition(" ")[0] for line in said[1:]] == ["src/a.py"]


async def test_more_than_is_wanted_is_counted(tmp_path: Path) -> None:
    root = tmp_path / "w"
    root.mkdir()
    for n in range(5):
        (root / f"{n}.md").write_text("# x\n")
    assert (await Shelf(root).use("repo_map", max_results=2)).text.splitlines()[-1] == "… 3 more"


async def test_it_is_kept_for_ten_minutes_and_not_in_the_workspace(tmp_path: Path) -> None:
    await trio.to_thread.run_sync(_kept_for_ten_minutes, tmp_path)


def _kept_for_ten_minutes(tmp_path: Path) -> None:
    root = tmp_path / "w"
    root.mkdir()
    (root / "a.py").write_text("def a(): ...\n")
    workspace, maps = Workspace(root), Maps(tmp_path / "maps")

    first = maps.of(workspace, 1000.0)
    (root / "b.py").write_text("def b(): ...\n")

    assert maps.of(workspace, 1000.0 + FRESH - 1) == first
    assert Maps(tmp_path / "maps").of(workspace, 1001.0) == first, "another process too"
    assert len(maps.of(workspace, 1001.0, refresh=True).files) == 2
    assert len(maps.of(workspace, 1001.0 + FRESH).files) == 2
    assert sorted(path.name for path in root.iterdir()) == ["a.py", "b.py"]
    next((tmp_path / "maps").iterdir()).write_text("not a map")
    assert len(maps.of(workspace, 1002.0).files) == 2
