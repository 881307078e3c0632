"""Programs beside us: their lines, their end, and what they leave behind. Contract: providers.md §7.1 env, kill."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from goclaw.domain.errors import ProviderError
from goclaw.providers.program import Lines, Program, Programs, environment

SHELL = "/bin/sh"
GRACE = 0.2


@given(st.lists(st.binary(max_size=30), max_size=10), st.lists(st.integers(0, 400), max_size=12))
def test_lines_are_the_same_however_they_are_cut(parts: list[bytes], cuts: list[int]) -> None:
    whole = b"\n".join(parts)
    reader, found = Lines(), list[bytes]()
    edges = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    for start, stop in pairwise(edges):
        found += reader.feed(whole[start:stop])
    found += reader.finish()

    assert found == [line for line in whole.split(b"\n") if line.strip()]


@pytest.mark.parametrize("pieces", [[b"x" * 11], [b"x" * 6, b"x" * 6], [b"xxxxxxxxxxx\n"], [b"a\nb" + b"x" * 10]])
def test_a_line_that_is_too_long_is_refused_whether_it_ends_or_not(pieces: list[bytes]) -> None:
    reader = Lines(limit=10)
    with pytest.raises(ValueError, match="more than 10 bytes"):
        [reader.feed(piece) for piece in pieces]


@asynccontextmanager
async def running(script: str, **how: object) -> AsyncIterator[Program]:
    programs = Programs(GRACE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(programs.live)
        with trio.fail_after(10):
            env = environment(os.environ)
            yield await programs.start([SHELL, "-c", script], cwd=Path("/"), env=env, **how)  # type: ignore[arg-type]
        programs.close()


async def first(program: Program) -> int:
    return int(await program.lines.receive())


async def gone(pid: int) -> None:
    """A signal is on its way for a moment."""
    with suppress(ProcessLookupError):
        watch = os.pidfd_open(pid)
        await trio.lowlevel.wait_readable(watch)
        os.close(watch)


async def test_what_a_program_started_ends_with_it() -> None:
    """The stray holds the pipes open, so that only its end lets ours be read to the end."""
    async with running("sleep 100 & echo $!") as program:
        stray = await first(program)
        async for _ in program.lines:
            pass
        await program.over.wait()
        assert program.returncode == 0
        await gone(stray)


async def test_a_whole_group_is_ended_by_the_ladder() -> None:
    async with running("trap '' TERM; sleep 100 & echo $!; while :; do wait; done") as program:
        child = await first(program)
        began = trio.current_time()
        program.end()
        await program.over.wait()
        assert trio.current_time() - began >= GRACE
        assert program.returncode == -signal.SIGKILL
        await gone(child)


async def test_the_ladder_begins_politely_where_that_is_asked_for() -> None:
    async with running("trap 'exit 5' INT; echo 1; while :; do sleep 0.01; done", polite=signal.SIGINT) as program:
        await first(program)
        program.end()
        await program.over.wait()
        assert program.returncode == 5


async def test_what_was_said_before_the_end_is_read_and_its_errors_are_its_last_words() -> None:
    async with running("seq 3000; echo broken >&2; exit 3") as program:
        said = [line async for line in program.lines]
        assert said == [str(number).encode() for number in range(1, 3001)]
        obituary = await program.obituary()
    assert obituary.kind == "server_error"
    assert obituary.message == "sh ended with exit code 3: broken"


async def test_a_program_reads_what_it_is_given_to_the_last_byte() -> None:
    async with running("wc -c") as program:
        for _ in range(20):
            await program.send(b"x" * 100_000)
        program.close_input()
        assert await first(program) == 2_000_000


async def test_a_program_that_does_not_listen_holds_nobody_up() -> None:
    async with running("exec 0<&-; echo 1; sleep 100") as program:
        await first(program)
        for _ in range(1000):
            await program.send(b"x" * 10_000)


async def test_nothing_starts_when_nobody_is_there_to_end_it() -> None:
    programs = Programs(GRACE)
    programs.close()
    with pytest.raises(ProviderError, match="is being stopped"):
        await programs.start([SHELL], cwd=Path("/"), env={})
    assert not programs.start_soon(trio.sleep, 0)


def test_only_what_a_program_needs_is_handed_down() -> None:
    given_ = dict.fromkeys(("PATH", "HOME", "LC_ALL", "https_proxy", "GOCLAW_TOKEN", "API_KEY", "PATHS", "LCX"), "x")
    assert set(environment(given_)) == {"PATH", "HOME", "LC_ALL", "https_proxy"}
    assert "API_KEY" in environment(given_, frozenset({"API_KEY"}))
