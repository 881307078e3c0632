"""Reading a file of the workspace. Contract: tools.md §10."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from goclaw.tools.ledger import ToolResult
from tests.tools.fs.shelf import Shelf, Texts

MIB = 1024 * 1024


async def read(root: Path, path: str, **more: Any) -> ToolResult:
    return await Shelf(root).use("read_file", path=path, **more)


async def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("một\nhai\n")
    assert (await read(tmp_path, "notes.txt")).text == "một\nhai\n"


async def test_an_empty_file_is_empty(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    result = await read(tmp_path, "empty")
    assert (result.text, result.is_error) == ("", False)


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ({"offset": 2}, "2\ttwo\n3\tthree\n4\tfour"),
        ({"limit": 1}, "1\tone\n"),
        ({"offset": 2, "limit": 2}, "2\ttwo\n3\tthree\n"),
        ({"offset": 4, "limit": 20_000}, "4\tfour"),
        ({"offset": 5}, ""),
        ({"offset": 10**18}, ""),
    ],
)
async def test_some_lines_come_with_their_numbers(wanted: dict[str, int], text: str, tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("one\ntwo\nthree\nfour")
    assert (await read(tmp_path, "lines", **wanted)).text == text


async def test_bytes_that_are_no_text_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    assert (await read(tmp_path, "latin")).text == "caf\ufffd"


async def test_a_binary_file_is_unsupported(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"\x89PNG\0")
    result = await read(tmp_path, "image")
    assert result.error_code == "unsupported"
    assert "binary file" in result.text


async def test_a_nul_behind_the_first_eight_kilobytes_is_not_looked_for(tmp_path: Path) -> None:
    (tmp_path / "late").write_bytes(b"x" * 8192 + b"\0")
    assert not (await read(tmp_path, "late")).is_error


async def test_a_huge_file_is_read_in_lines_only(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.write(b"first\n" + b"x" * 8192)
        file.truncate(10 * MIB + 1)

    assert (await read(tmp_path, "huge")).error_code == "too_large"
    assert (await read(tmp_path, "huge", limit=1)).text == "1\tfirst\n"


async def test_a_line_without_an_end_is_not_read_for_ever(tmp_path: Path) -> None:
    with (tmp_path / "endless").open("wb") as file:
        file.write(b"x" * 8192)
        file.truncate(1024 * MIB)  # sparse

    result = await read(tmp_path, "endless", offset=2)
    assert result.error_code == "too_large"
    assert "ask for fewer lines" in result.text


async def test_a_line_too_long_to_read_is_not_taken_for_several(tmp_path: Path) -> None:
    (tmp_path / "minified").write_bytes(b"x" * (10 * MIB + 5) + b"\nsecond\n")
    assert (await read(tmp_path, "minified", offset=2, limit=1)).error_code == "too_large"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("nope", "not_found"),
        ("file/below", "not_found"),
        ("../secret", "denied_path"),
        ("sub", "denied_path"),
        (".goclaw/token", "denied_path"),
        ("", "invalid_args"),
        ("x" * 4097, "invalid_args"),
    ],
)
async def test_what_cannot_be_read_is_named(path: str, code: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "sub").mkdir()
    assert (await read(tmp_path, path)).error_code == code


async def test_a_cancelled_read_ends_its_thread_too(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"\n" * 128 * MIB)  # half a minute of short lines
    threads = trio.to_thread.current_default_thread_limiter()
    threads.total_tokens = 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(read, tmp_path, "log", offset=10**18))
        await wait_all_tasks_blocked()
        assert threads.borrowed_tokens == 1
        nursery.cancel_scope.cancel()

    with trio.fail_after(2):
        await threads.acquire_on_behalf_of("us")


@pytest.mark.parametrize(
    ("begins", "reader"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0", "read_image"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "read_image"),
        (b"GIF89a", "read_image"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "read_image"),
        (b"%PDF-1.7\n%no NUL in sight\n", "read_document"),
        (b"ID3\x04\0", "read_audio"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "read_audio"),
        (b"OggS\0\x02", "read_audio"),
        (b"\0\0\0\x20ftypM4A \0", "read_audio"),
        (b"\0\0\0\x20ftypisom\0", "read_video"),
        (b"\x1aE\xdf\xa3\x9f", "read_video"),
    ],
)
async def test_what_is_no_text_names_the_tool_that_reads_it(begins: bytes, reader: str, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(begins)
    result = await read(tmp_path, "x.txt")
    assert not result.is_error
    assert result.text.endswith(f"of {len(begins)} bytes: use {reader}")
    assert "\n" not in result.text


@pytest.mark.parametrize("text", ["BM is no bitmap", "ID3 tags, explained", "GIF", "%PD", "<svg/>", "II*", "RIFF raff"])
async def test_texts_that_begin_alike_are_texts(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text(text)
    assert (await read(tmp_path, "x.png")).text == text


async def test_an_agents_texts_are_read_before_any_file(tmp_path: Path) -> None:
    for name in ("SOUL.md", "TEAM.md", "sub/SOUL.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("on the disk")
    shelf = Shelf(tmp_path, Texts({"SOUL.md": "one\ntwo\n"}))

    for path in ("SOUL.md", "./SOUL.md", f"{tmp_path}/SOUL.md", "sub/../SOUL.md"):
        assert (await shelf.use("read_file", path=path)).text == "one\ntwo\n"
    assert (await shelf.use("read_file", path="SOUL.md", offset=2)).text == "2\ttwo\n"
    assert (await shelf.use("read_file", path="sub/SOUL.md")).text == "on the disk"
    assert (await shelf.use("read_file", path="TEAM.md")).text == "already in your prompt"
    assert (await shelf.use("read_file", path="AGENTS.md")).error_code == "not_found"


async def test_clients_do_not_show_what_was_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("long")
    assert (await read(tmp_path, "a")).silent
