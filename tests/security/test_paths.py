"""Nothing outside of a workspace is ever opened. Contract: security.md §7.1, §7.2."""

from __future__ import annotations

import builtins
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

from goclaw.security.paths import PathRefused, Root, Workspace
from tests.security import race
from tests.security.corpus import cases, rows


def stopped(row: dict[str, Any]) -> bool:
    return "refused" in row or "raises" in row


CASES, WRITTEN = rows("paths"), rows("paths_write")
LONG = {
    "{name255}": "n" * 255,
    "{name86x3}": "名" * 86,
    "{path4097}": "sub/../" * 585 + "aa",
    "{deep65}": "/".join(["d"] * 65),
}
SECRET = "the secret outside"


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


@pytest.mark.parametrize("case", cases("paths", refused=stopped))
def test_a_path_opens_what_it_names_inside_or_is_refused(case: dict[str, Any], tree: Path) -> None:
    """SEC-25."""
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


@pytest.mark.parametrize("case", cases("paths_write", refused=stopped))
def test_a_change_lands_inside_or_nothing_changes(case: dict[str, Any], tree: Path) -> None:
    (tree / "empty").mkdir()
    (tree / "a").chmod(0o755)
    before = {found: found.read_bytes() for found in outside(tree)}
    names = {found.name for found in tree.iterdir()}

    if "refused" in case:
        with pytest.raises(PathRefused) as refusal:
            change(case, tree)
        assert case["refused"] in str(refusal.value)
    elif "raises" in case:
        with pytest.raises(getattr(builtins, case["raises"])):
            change(case, tree)
    else:
        change(case, tree)

    assert {found: found.read_bytes() for found in outside(tree)} == before
    if "lands" in case and case["do"] == "mkdir":
        assert (tree / case["lands"]).is_dir()
    elif "lands" in case:
        assert (tree / case["lands"]).read_text() == case.get("holds", "fresh")
        assert (tree / "link_a").is_symlink()
        mode = (tree / case["lands"]).stat().st_mode & 0o777
        assert mode in ((0o755,) if case["lands"] == "a" or case["path"] == "a" else (0o644,))
    else:
        assert (tree / "first").read_text() == "two names"
        assert {found.name for found in tree.iterdir()} == names - {case.get("gone")}
    if "gone" in case:
        assert not os.path.lexists(tree / case["gone"])


def change(case: dict[str, Any], root: Path) -> None:
    path, workspace = path_of(case, root), Workspace(root)
    match case["do"]:
        case "write":
            workspace.write(path, b"fresh")
        case "append":
            workspace.append(path, b"fresh")
        case "mkdir":
            workspace.mkdir(path)
        case "delete":
            workspace.delete(path)
        case "move":
            workspace.move(path, case["to"])


def outside(root: Path) -> list[Path]:
    return [found for place in ("../out", "../ws-evil", ".goclaw") for found in (root / place).iterdir()]


def test_denied_names_are_denied_on_every_way_to_them(tree: Path) -> None:
    (tree / "innocent").symlink_to(".env")
    workspace = Workspace(tree, denied=re.compile(r"\.env|sub"))
    for path in (".env", "innocent", "sub/b", "link_sub/b", "sub/../.env"):
        with pytest.raises(PathRefused, match="not for agents"):
            read(workspace, path)
        with pytest.raises(PathRefused, match="not for agents"):
            workspace.write(path, b"")
    assert read(workspace, "a") == "a"


def test_a_denied_place_is_denied_under_every_name_it_has(tree: Path) -> None:
    """By device and inode (tools.md §9.3), so links do not help; and before it exists, by where it would be."""
    (tree / "innocent").symlink_to("sub/deep")
    workspace = Workspace(tree, barred=[tree / "sub/deep", tree / "a", tree / "not/yet", tree / "keys.pem"])
    for path in ("sub/deep/c", "innocent/c", "link_deep/c", "sub/deep", "a", "link_a", f"{tree}/a"):
        with pytest.raises(PathRefused, match="not for tools"), workspace.open(path, directory=path == "sub/deep"):
            pass
    for path in ("sub/deep/new", "innocent/new", "a", "keys.pem", "link_a"):
        with pytest.raises(PathRefused, match="not for tools"):
            workspace.write(path, b"")
        with pytest.raises(PathRefused, match="not for tools"):
            workspace.append(path, b"")
    with pytest.raises(PathRefused, match="not for tools"):
        workspace.delete("a")
    with pytest.raises(PathRefused, match="stays where it is"):
        workspace.move("sub", "elsewhere")  # it would be denied at its old place only
    with pytest.raises(PathRefused, match="not for tools"):
        workspace.move("first", "keys.pem")
    with pytest.raises(PathRefused, match="not for tools"):
        workspace.mkdir("not/yet")

    assert read(workspace, "sub/b") == "b"
    workspace.delete("link_a")  # a link beside it is not it


def test_what_is_denied_is_not_shown(tree: Path) -> None:
    (tree / "bound").mkdir()
    workspace = Workspace(tree, denied=re.compile(r"\.env"), barred=[tree / "bound", tree / "a"])
    here = os.open(tree, os.O_RDONLY)
    try:
        shows = workspace.shows(here)
        with os.scandir(here) as entries:
            shown = {entry.name for entry in entries if shows(entry)}
    finally:
        os.close(here)
    assert set(os.listdir(tree)) - shown == {".goclaw", ".env", "bound", "a"}


def test_a_policy_opens_more_directories_each_as_it_says(tree: Path, tmp_path: Path) -> None:
    docs, ref = tmp_path.resolve() / "docs", tmp_path.resolve() / "ref"
    for place in (docs, ref, ref / "rw"):
        place.mkdir()
        (place / "f").write_text(place.name)
        (place / "back").symlink_to(tree / "a")
    more = [Root(docs), Root(ref, writable=False), Root(ref / "rw"), Root(tree.parent / "out")]
    workspace = Workspace(tree, barred=[tree.parent / "out"]).beside(lambda: more)

    assert [read(workspace, f"{place}/f") for place in (docs, ref, ref / "rw")] == ["docs", "ref", "rw"]
    workspace.write(f"{docs}/new/f", b"")
    workspace.append(f"{ref}/rw/f", b"!")
    for change in (workspace.write, workspace.append):
        with pytest.raises(PathRefused, match="may be read and not changed"):
            change(f"{ref}/f", b"")
    with pytest.raises(PathRefused, match="may be read and not changed"):
        workspace.move(f"{ref}/f", "mine")
    for path in (f"{tree.parent}/out/secret", f"{docs}/../out/secret", f"{docs}x/f", f"{docs}/back"):
        with pytest.raises(PathRefused, match="outside"):  # denied places win, and a link stays in its directory
            read(workspace, path)
    assert workspace.relative(f"{docs}/f") is None
    assert workspace.relative(f"{tree}/sub/../a") == workspace.relative("./a/") == "a"


def test_a_full_disk_leaves_no_half_of_what_was_to_be_added(tree: Path) -> None:
    most = (tree / "a").stat().st_size + 4096
    program = (
        "import resource, signal, sys; from pathlib import Path; from goclaw.security.paths import Workspace\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most}))\n"
        "Workspace(Path(sys.argv[1])).append('a', b'x' * 8192)"
    )
    ended = subprocess.run([sys.executable, "-c", program, tree], capture_output=True, text=True)

    assert "File too large" in ended.stderr
    assert (tree / "a").read_text() == "a"


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
    """SEC-27, and every way a change can end."""
    workspace = Workspace(tree)
    refused = [path_of(case, tree) for case in CASES if "refused" in case]
    before = len(os.listdir("/proc/self/fd"))

    for number in range(10_000):
        with pytest.raises(PathRefused), workspace.open(refused[number % len(refused)]):
            pass
    for case in CASES:
        with suppress(PathRefused, OSError), workspace.open(path_of(case, tree), directory=True):
            pass
    for case in WRITTEN:
        with suppress(PathRefused, OSError):
            change(case, tree)

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


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=paths | paths.map("/{}".format) | paths.map("{{root}}/{}".format), data=st.data())
def test_no_path_whatever_changes_anything_outside(tree: Path, path: str, data: st.DataObject) -> None:
    before = {found: found.read_bytes() for found in outside(tree)}
    do = data.draw(st.sampled_from(["write", "append", "mkdir", "delete", "move"]))
    to = data.draw(paths) if do == "move" else ""

    with suppress(PathRefused, OSError):
        change({"do": do, "path": path, "to": to}, tree)

    assert {found: found.read_bytes() for found in outside(tree)} == before


@pytest.mark.parametrize("path", race.PATHS)
def test_a_directory_swapped_for_a_link_while_we_walk_gives_no_way_out(path: str, tmp_path: Path) -> None:
    """SEC-26. The race of security.md §7.2, shortened; `long_paths.py` runs it at its full length."""
    assert race.read(tmp_path.resolve(), path, opens=15_000)["outside"] == 0


@pytest.mark.parametrize("how", race.WAYS)
def test_no_file_is_written_outside_while_a_directory_is_swapped(how: race.Way, tmp_path: Path) -> None:
    """SEC-26."""
    assert race.written(tmp_path.resolve(), how, times=500) == []


def test_the_corpus_names_every_case_once() -> None:
    every = [*CASES, *WRITTEN]
    assert len({case["id"] for case in every}) == len(every)
