"""Nothing outside of a workspace is ever opened. Contract: security.md §7.1, §7.2."""

from __future__ import annotations

import builtins
import json
import os
import re
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from goclaw.security.paths import PathRefused, Workspace

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "corpora/paths.json").read_text())
LONG = {
    "{name255}": "n" * 255,
    "{name86x3}": "名" * 86,
    "{path4097}": "sub/../" * 585 + "aa",
    "{deep65}": "/".join(["d"] * 65),
}
SECRET = "the secret outside"
OPENS = 40_000  # of each of three racing paths: 100,000 and more, as security.md §7.2 asks
WRITES = 2_000  # each of them reaches the disk
SWAPPER = """
import ctypes, sys
names = [name.encode() for name in sys.argv[1:]]
swap = ctypes.CDLL(None).renameat2  # RENAME_EXCHANGE: both names in one step
while swap(-100, names[0], -100, names[1], 2) == 0:
    pass
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The tree of security.md §7.2, its links, and names that look like attacks and are none."""
    root = tmp_path.resolve() / "ws"
    files = {
        "a": "a",
        "sub/b": "b",
        "sub/deep/c": "c",
        "..foo": "dots",
        ".../b": "three",
        "a..b": "inner",
        "a..": "end",
        "two words.txt": "words",
        " edge ": "edge",
        ".env": "env",
        "a~b": "tilde",
        ".goclaw2": "near",
        "goclaw": "bare",
        "名前/đường.txt": "unicode",
        "at 9:41\u202fAM.png": "nnbsp",
        "n" * 255: "long",
        "%2e%2e": "percent",
        "caf\u00e9": "composed",
        "first": "two names",
        ".goclaw/token": SECRET,
        LONG["{deep65}"] + "/a": "deep",
        "../ws-evil/x": SECRET,
        "../out/secret": SECRET,
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    links = {
        "link_a": "a",
        "link_sub": "sub",
        "link_deep": "sub/deep",
        "abs_link_a": f"{root}/a",
        "sub/abs_link_a": f"{root}/a",
        "link_out": "../out/secret",
        "dir_out": "../out",
        "sneaky": "sub/../../out/secret",
        "abs_link_out": f"{root.parent}/out/secret",
        "proc_root": "/proc/self/root",
        "dangling": "../out/new",
        "link_to_link_out": "link_out",
        "loop": "loop",
        "ping": "pong",
        "pong": "ping",
        "link_hidden": ".goclaw/token",
        "link_hidden_directory": ".goclaw",
        "chain40": "a",
        **{f"chain{n}": f"chain{n + 1}" for n in range(40)},
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    os.link(root.parent / "out/secret", root / "hard")
    os.link(root / "first", root / "twin")
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(root, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{here}/socket")  # socket addresses are short, temporary paths are not
        os.close(here)
    return root


def read(workspace: Workspace, path: str) -> str:
    with workspace.open(path) as descriptor:
        return os.read(descriptor, 4096).decode()


def path_of(case: dict[str, Any], root: Path) -> str:
    path = str(case["path"]).replace("{root}", str(root))
    for mark, text in LONG.items():
        path = path.replace(mark, text)
    return path


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in CASES])
def test_a_path_opens_what_it_names_inside_or_is_refused(case: dict[str, Any], tree: Path) -> None:
    workspace, path = Workspace(tree), path_of(case, tree)

    if "reads" in case:
        assert read(workspace, path) == case["reads"]
    elif "refused" in case:
        with pytest.raises(PathRefused) as refusal:
            read(workspace, path)
        assert case["refused"] in str(refusal.value)
        assert "out/secret" not in str(refusal.value).removeprefix(path)  # where a link leads is not told
    else:
        with pytest.raises(getattr(builtins, case["raises"])):
            read(workspace, path)


def test_a_dangling_link_creates_nothing(tree: Path) -> None:
    with pytest.raises(PathRefused):
        read(Workspace(tree), "dangling")
    assert not (tree.parent / "out/new").exists()


@pytest.mark.parametrize(
    ("path", "lands"),
    [("a", "a"), ("new/deep/c.txt", "new/deep/c.txt"), ("sub/../b", "b"), ("link_a", "a"), ("link_sub/x", "sub/x")],
)
def test_a_file_is_written_where_its_path_leads(path: str, lands: str, tree: Path) -> None:
    (tree / "a").chmod(0o755)
    before = {found.name for found in tree.iterdir()}

    Workspace(tree).write(path, b"fresh")

    assert (tree / lands).read_bytes() == b"fresh"
    assert (tree / "a").stat().st_mode & 0o777 == 0o755  # a file that was there keeps its mode
    assert (tree / "link_a").is_symlink()
    assert {found.name for found in tree.iterdir()} <= {*before, "new", "b"}


@pytest.mark.parametrize(
    "path",
    [
        *("../out/new", "dangling", "link_out", "dir_out/new", "abs_link_out", "/etc/new", "{root}/../new"),
        *("sub", "", "new/..", "hard", "twin", "fifo", ".goclaw/x", "link_hidden", "loop", "a/below"),
    ],
)
def test_what_is_no_place_for_a_file_of_ours_stays_as_it_is(path: str, tree: Path) -> None:
    outside = {found: found.read_bytes() for found in (tree.parent / "out").iterdir()}

    with pytest.raises((PathRefused, NotADirectoryError)):
        Workspace(tree).write(path.replace("{root}", str(tree)), b"fresh")

    assert {found: found.read_bytes() for found in (tree.parent / "out").iterdir()} == outside
    assert (tree / "first").read_text() == "two names"


def test_denied_names_are_denied_on_every_way_to_them(tree: Path) -> None:
    (tree / "innocent").symlink_to(".env")
    workspace = Workspace(tree, denied=re.compile(r"\.env|sub"))
    for path in (".env", "innocent", "sub/b", "link_sub/b", "sub/../.env"):
        with pytest.raises(PathRefused, match="not for agents"):
            read(workspace, path)
        with pytest.raises(PathRefused, match="not for agents"):
            workspace.write(path, b"")
    assert read(workspace, "a") == "a"


def test_a_device_is_refused() -> None:
    with pytest.raises(PathRefused, match="not a file"), Workspace(Path("/dev")).open("null"):
        pass


def test_a_directory_opens_only_as_a_directory(tree: Path) -> None:
    workspace = Workspace(tree)
    for path in ("", ".", "/".join([str(tree)]), "sub", "sub/deep/..", "link_sub"):
        with workspace.open(path, directory=True) as descriptor:
            assert os.listdir(descriptor)
    with pytest.raises(NotADirectoryError), workspace.open("a", directory=True):
        pass
    with pytest.raises(PathRefused), workspace.open("dir_out", directory=True):
        pass


def test_no_descriptor_is_left_open_however_a_walk_ends(tree: Path) -> None:
    workspace = Workspace(tree)
    before = len(os.listdir("/proc/self/fd"))
    for case in CASES:
        for directory in (False, True):
            try:
                with workspace.open(path_of(case, tree), directory=directory):
                    pass
            except (PathRefused, OSError):
                pass
        with suppress(PathRefused, OSError):
            workspace.write(path_of(case, tree), b"")
    assert len(os.listdir("/proc/self/fd")) == before


STEPS = ["a", "sub", "deep", "b", "c", "..", "..", ".", "", "link_sub", "link_deep", "dir_out", "link_out", "secret"]
MORE = ["sneaky", "abs_link_out", "proc_root", "out", "etc", "hostname", "ws-evil", "x", "hard", ".goclaw", "token"]
paths = st.lists(st.sampled_from([*STEPS, *MORE]) | st.text(max_size=4), max_size=12).map("/".join)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=paths | paths.map("/{}".format) | paths.map("{{root}}/{}".format), directory=st.booleans())
def test_no_path_whatever_opens_anything_outside(tree: Path, path: str, directory: bool) -> None:
    try:
        with Workspace(tree).open(path.replace("{root}", str(tree)), directory=directory) as descriptor:
            opened = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            text = "" if directory else os.read(descriptor, 100).decode()
    except (PathRefused, FileNotFoundError, NotADirectoryError):
        return
    assert opened == tree or tree in opened.parents
    assert text != SECRET


@pytest.mark.parametrize("path", ["d/f", "d/inner/../f", "swap"])
def test_a_directory_swapped_for_a_link_while_we_walk_gives_no_way_out(path: str, tmp_path: Path) -> None:
    """The race of security.md §7.2: `d` and a link to the outside change places all the time."""
    root, out = tmp_path.resolve() / "ws", tmp_path.resolve() / "out"
    for directory, text in ((root / "d", "inside"), (out, SECRET)):
        (directory / "inner").mkdir(parents=True)
        (directory / "f").write_text(text)
    (root / "l").symlink_to("../out")
    (root / "swap").symlink_to("d/f")
    workspace, outcomes = Workspace(root), {"inside": 0, "refused": 0, SECRET: 0}
    swapper = subprocess.Popen([sys.executable, "-c", SWAPPER, root / "d", root / "l"])
    try:
        while (opens := sum(outcomes.values())) < 1_000_000 and (opens < OPENS or not all_happened(outcomes)):
            try:
                outcomes[read(workspace, path)] += 1
            except (PathRefused, OSError):
                outcomes["refused"] += 1
    finally:
        swapper.kill()
        swapper.wait()

    assert outcomes["inside"] > 0
    assert outcomes["refused"] > 0
    assert outcomes[SECRET] == 0


def test_no_file_is_written_outside_while_a_directory_is_swapped(tmp_path: Path) -> None:
    root, out = tmp_path.resolve() / "ws", tmp_path.resolve() / "out"
    for directory in (root / "d", out):
        directory.mkdir(parents=True)
    (root / "l").symlink_to("../out")
    workspace, written = Workspace(root), 0
    swapper = subprocess.Popen([sys.executable, "-c", SWAPPER, root / "d", root / "l"])
    try:
        for number in range(WRITES):
            with suppress(PathRefused, OSError):
                workspace.write(f"d/f{number}", b"")
                written += 1
    finally:
        swapper.kill()
        swapper.wait()

    assert 0 < written < WRITES
    assert os.listdir(out) == []


def all_happened(outcomes: dict[str, int]) -> bool:
    return outcomes["inside"] > 0 and outcomes["refused"] > 0


def test_the_corpus_names_every_case_once() -> None:
    assert len({case["id"] for case in CASES}) == len(CASES)
