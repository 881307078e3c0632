"""No fs tool reaches outside of the workspace, on any of the paths of security.md §7.2 (SEC-25)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.security.test_paths import CASES, SECRET, WRITTEN, outside, path_of
from tests.security.test_paths import tree as tree
from tests.tools.fs.shelf import Shelf, Texts

REFUSED = [case for case in CASES if "refused" in case and case["path"]]
ARGUMENTS: dict[str, dict[str, Any]] = {
    "read_file": {},
    "write_file": {"content": "fresh"},
    "edit_file": {"old_string": "s", "new_string": "fresh"},
    "list_files": {"recursive": True},
    "search": {"pattern": "."},
    "glob": {"pattern": "**"},
    "send_file": {},
}
FOR_DIRECTORIES = frozenset({"list_files", "glob"})
FILES_ONLY = ("is a directory", "hard link", "not a file")  # where a directory is wanted these are other refusals


@pytest.mark.parametrize("tool", ARGUMENTS)
@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in REFUSED])
async def test_what_is_refused_is_refused_by_every_tool(tool: str, case: dict[str, Any], tree: Path) -> None:
    shelf, path = Shelf(tree, Texts(), channel="c"), path_of(case, tree)
    before = {found: found.read_bytes() for found in outside(tree)}

    result = await shelf.use(tool, path=path, **ARGUMENTS[tool])

    if case["refused"] in FILES_ONLY and (tool in FOR_DIRECTORIES or tool == "search"):
        assert result.is_error is (case["refused"] != "is a directory")
    elif case["id"] == "path-too-long":
        assert result.error_code == "invalid_args"
    else:
        assert result.error_code in ("denied_path", "conflict")
    assert SECRET not in json.dumps(result.text)
    assert {found: found.read_bytes() for found in outside(tree)} == before


@pytest.mark.parametrize("tool", ["list_files", "search", "glob"])
async def test_a_walk_through_everything_shows_nothing_of_the_outside(tool: str, tree: Path) -> None:
    more = {"list_files": {"recursive": True, "show_hidden": True}, "search": {"pattern": "."}, "glob": {}}[tool]
    patterns = ["**", "**/*", ".*", "**/.*", ".goclaw/*", "dir_out/*", "{dir_out,.goclaw,proc_root}/**"]
    for pattern in patterns if tool == "glob" else [""]:
        arguments = {**more, "pattern": pattern} if tool == "glob" else more
        said = (await Shelf(tree).use(tool, **arguments)).text
        assert SECRET not in said
        assert "token" not in said
        assert "secret" not in said.replace("nothing matches", "")


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in WRITTEN if case["do"] == "write"])
async def test_write_file_writes_what_the_workspace_lets_it(case: dict[str, Any], tree: Path) -> None:
    before = {found: found.read_bytes() for found in outside(tree)}

    result = await Shelf(tree).use("write_file", path=path_of(case, tree), content="fresh")

    assert result.is_error is ("lands" not in case)
    if "lands" in case:
        assert (tree / case["lands"]).read_text() == "fresh"
    assert {found: found.read_bytes() for found in outside(tree)} == before
