"""Commands an agent has us run in its work directory. Contract: providers.md §7.1, terminal/*.

A command gets what the agent gets: the minimal environment, a process group of its own, and an end with it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Raw, Struct, json

from goclaw.domain.errors import ProviderError
from goclaw.providers.acp.peer import FAILED, Refusal
from goclaw.providers.program import Program, Programs, signal_name
from goclaw.security.paths import PathRefused, Workspace

OUTPUT = 2**20  # bytes kept of what a command says, the newest; an agent may want fewer
OPEN = 16  # terminals of one agent at once
SHELL = "/bin/sh"  # runs a command that comes without arguments: agents send whole lines


class _Variable(Struct, frozen=True):
    name: str
    value: str


class _Create(Struct, frozen=True, rename="camel"):
    command: str
    args: list[str] = []
    env: list[_Variable] = []
    cwd: str | None = None
    output_byte_limit: Annotated[int, Meta(ge=0)] | None = None


class _Named(Struct, frozen=True, rename="camel"):
    terminal_id: str


class _Terminal:
    program: Program

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.output = b""
        self.truncated = False

    async def keep(self, program: Program) -> None:
        async for piece in program.lines:
            whole = self.output + piece
            self.truncated = self.truncated or len(whole) > self.limit
            self.output = whole[len(whole) - self.limit :] if len(whole) > self.limit else whole

    @property
    def text(self) -> str:
        """What was kept, from the first whole character on."""
        start = next((place for place, byte in enumerate(self.output[:4]) if byte & 0xC0 != 0x80), 0)
        return self.output[start if self.truncated else 0 :].decode("utf-8", "replace")


class Terminals:
    """The terminals of one agent. `root` is its work directory."""

    def __init__(self, programs: Programs, root: Path, env: Mapping[str, str]) -> None:
        self._programs = programs
        self._workspace = Workspace(root)
        self._env = env
        self._open: dict[str, _Terminal] = {}
        self._starting = 0
        self._last = 0

    async def create(self, params: Raw) -> dict[str, Any]:
        ask = json.decode(params, type=_Create)
        if len(self._open) + self._starting >= OPEN:
            raise Refusal(FAILED, f"{OPEN} terminals are open already; release one")
        terminal = _Terminal(min(OUTPUT if ask.output_byte_limit is None else ask.output_byte_limit, OUTPUT))
        self._starting += 1
        try:
            terminal.program = await self._programs.start(
                [ask.command, *ask.args] if ask.args else [SHELL, "-c", ask.command],
                cwd=self._directory(ask.cwd),
                env={**self._env, **{variable.name: variable.value for variable in ask.env}},
                beside=terminal.keep,
                input=False,
                raw=True,
            )
        except ProviderError as error:
            raise Refusal(FAILED, error.message) from None
        finally:
            self._starting -= 1
        self._last += 1
        name = f"term_{self._last}"
        self._open[name] = terminal
        return {"terminalId": name}

    async def output(self, params: Raw) -> dict[str, Any]:
        terminal = self._named(params)
        return {
            "output": terminal.text,
            "truncated": terminal.truncated,
            "exitStatus": _status(terminal.program) if terminal.program.over.is_set() else None,
        }

    async def wait_for_exit(self, params: Raw) -> dict[str, Any]:
        terminal = self._named(params)
        await terminal.program.over.wait()
        return _status(terminal.program)

    async def kill(self, params: Raw) -> dict[str, Any]:
        """Ends the command; what it said can still be asked for."""
        self._named(params).program.end()
        return {}

    async def release(self, params: Raw) -> dict[str, Any]:
        terminal = self._named(params)
        terminal.program.end()
        self._open = {name: other for name, other in self._open.items() if other is not terminal}
        return {}

    def close(self) -> None:
        """The agent is gone."""
        for terminal in self._open.values():
            terminal.program.end()
        self._open.clear()

    def _named(self, params: Raw) -> _Terminal:
        name = json.decode(params, type=_Named).terminal_id
        terminal = self._open.get(name)
        if terminal is None:
            raise Refusal(FAILED, f"there is no terminal {name[:80]}")
        return terminal

    def _directory(self, wanted: str | None) -> Path:
        """Where the command starts. It may go elsewhere by itself: a shell is no jail."""
        try:
            with self._workspace.open(wanted or ".", directory=True) as found:
                return Path(os.readlink(f"/proc/self/fd/{found}"))
        except PathRefused as refusal:
            raise Refusal(FAILED, f"cwd: {refusal}") from None
        except OSError as error:
            raise Refusal(FAILED, f"cwd: {error.strerror}") from None


def _status(program: Program) -> dict[str, Any]:
    code = program.returncode
    if code is not None and code < 0:
        return {"exitCode": None, "signal": signal_name(-code)}
    return {"exitCode": code, "signal": None}
