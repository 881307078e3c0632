"""A command on this machine, from its start to the end of everything it started. Contract: tools.md §12.1."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import trio

from goclaw.domain.errors import ProviderError
from goclaw.providers.program import Program, Programs
from goclaw.security.confine import GRACE, confined, exit_code
from goclaw.security.paths import PathRefused, Workspace
from goclaw.tools.tool import ToolFailed

CAPTURE = 2**20  # bytes of each stream; tools.md §8
CUT = "[output truncated at 1MB]"


class Capture:
    """The beginning of a stream. What comes later is read and forgotten, so that its writer can go on."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._cut = False

    async def take(self, stream: trio.MemoryReceiveChannel[bytes]) -> None:
        async for data in stream:
            room = CAPTURE - len(self._bytes)
            self._bytes += data[:room]
            self._cut |= len(data) > room

    @property
    def text(self) -> str:
        text = self._bytes.decode("utf-8", "replace")
        return f"{text}\n{CUT}" if self._cut else text


@dataclass(frozen=True)
class Ran:
    out: str
    err: str
    code: int | None
    late: bool  # it was ended, because its time was over


def opened(workspace: Workspace, path: str) -> int:
    """The directory commands work in, as a descriptor that is the caller's to close. Raises ToolFailed. Blocks."""
    try:
        with workspace.open(path, directory=True) as place:
            return os.dup(place)
    except PathRefused as refusal:
        raise ToolFailed("denied_path", str(refusal)) from None
    except (FileNotFoundError, NotADirectoryError):
        raise ToolFailed("invalid_args", f"working_dir: there is no directory {path}") from None
    except OSError as error:
        raise ToolFailed("invalid_args", f"working_dir: {path} cannot be entered: {error.strerror}") from None


async def run(command: str, place: int, env: Mapping[str, str], timeout: float, given: bytes | None = None) -> Ran:
    """Run a command in the directory `place`, for `timeout` seconds and at most 3 more. Nothing of it is left after.

    `given`: what it reads.
    """
    programs, out, err = Programs(GRACE + 1), Capture(), Capture()
    trouble: ProviderError | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(programs.live)
        try:
            program = await programs.start(
                confined(command, place),
                cwd=Path("/"),
                env=env,
                input=given is not None,
                raw=True,
                apart=True,
                hand_over=(place,),
            )
            with trio.move_on_after(timeout) as limit:
                await _heard(program, out, err, given)
            if limit.cancelled_caught:
                program.end()
                await program.over.wait()
        except ProviderError as error:
            trouble = error
        finally:
            programs.close()
    if trouble is not None:
        raise ToolFailed("unavailable", f"no command can be started: {trouble.message}")
    return Ran(out.text, err.text, exit_code(program.returncode), limit.cancelled_caught)


async def _heard(program: Program, out: Capture, err: Capture, given: bytes | None) -> None:
    async with trio.open_nursery() as nursery:
        if given is not None:
            nursery.start_soon(_given, program, given)
        nursery.start_soon(out.take, program.lines)
        nursery.start_soon(err.take, program.errors)
    await program.over.wait()


async def _given(program: Program, data: bytes) -> None:
    await program.send(data)
    program.close_input()
