"""The `claude` program as a provider: a process per prompt, a session it keeps itself. Contract: providers.md §7.2."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGINT

import msgspec
import trio
from msgspec import Struct

from goclaw.domain.chat import ChatRequest, StreamChunk
from goclaw.domain.errors import ProviderError
from goclaw.providers.claude_cli.answer import Answer
from goclaw.providers.claude_cli.arguments import INHERITED
from goclaw.providers.conversation import Place, clear, place_of
from goclaw.providers.program import Program, Programs, environment, in_time
from goclaw.providers.provider import Tell, silent
from goclaw.providers.trouble import one_line
from goclaw.settings.subprocess import ClaudeProgram

MODELS = ("sonnet", "opus", "haiku")
NAME = re.compile(r"[A-Za-z0-9][\w.:@/\[\]-]{0,127}", re.ASCII)  # of a model: never taken for an option
STATUS = 15.0  # seconds for the login's status
STATUS_LINES = 200


class AuthStatus(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The login on this machine; edge-http.md, GET /v1/providers/claude-cli/auth-status."""

    installed: bool
    logged_in: bool
    email: str | None = None
    subscription_type: str | None = None
    error: str | None = None


class _Status(Struct, rename="camel"):
    logged_in: bool = False
    email: str | None = None
    subscription_type: str | None = None


class Turns:
    """A session in which one prompt follows the other."""

    def __init__(self) -> None:
        self.turn = trio.Semaphore(1)
        self.wanted = 0


class ClaudeCli:
    """`timeout` bounds a whole answer in seconds. Nothing runs but while `live` does."""

    slots = 1

    def __init__(
        self,
        name: str,
        settings: ClaudeProgram,
        *,
        timeout: float,
        environ: Mapping[str, str] = os.environ,
        programs: Programs | None = None,
    ) -> None:
        self.name = name
        self.kind = "claude_cli"
        self.default_model = settings.model
        self.timeout = timeout
        self.settings = settings
        self.path = settings.cli_path or "claude"
        self.base = Path(settings.base_work_dir).expanduser()
        self.env = environment(environ, INHERITED)
        self.programs = programs or Programs()
        self._turns: dict[str, Turns] = {}

    async def live(self) -> None:
        """Run what this provider keeps running. Every program has ended when this returns."""
        await self.programs.live()

    async def models(self, *, fresh: bool = False) -> list[str]:
        return list(dict.fromkeys((self.default_model, *MODELS)))

    async def aclose(self) -> None:
        self.programs.close()

    @asynccontextmanager
    async def stream(
        self, ask: ChatRequest, *, slot: int = 0, tell: Tell = silent
    ) -> AsyncIterator[AsyncIterator[StreamChunk]]:
        """Waits for the prompt before. Never asks twice: what the program did before it failed is done."""
        model = ask.model or self.default_model
        if not NAME.fullmatch(model):
            raise ProviderError("model_not_found", one_line(f"{self.name}: no model is called {model}"))
        place = place_of(self.name, ask)
        turns = self._turns.setdefault(place.name, Turns())
        deadline = trio.current_time() + self.timeout
        answer = Answer(self, place, ask, model, deadline, tell)
        turns.wanted += 1
        seated = False
        try:
            with in_time(deadline, self.name, self.timeout):
                await turns.turn.acquire()
                seated = True
                await answer.start()
            yield answer
        finally:
            program = answer.program
            if not seated or not self.programs.start_soon(self._after, place, turns, program):
                self._leave(place, turns, seated=seated)

    async def start(self, command: list[str], root: Path, *, piped: bool) -> Program:
        """Raises ProviderError."""
        return await self.programs.start(command, cwd=root, env=self.env, polite=SIGINT, input=piped)

    async def _after(self, place: Place, turns: Turns, program: Program | None) -> None:
        """The next prompt of this session comes when the program of the last one is gone, whatever it takes."""
        if program is not None:
            program.end()
            await program.over.wait()
        if place.once:
            await trio.to_thread.run_sync(clear, self.base / place.name)
        self._leave(place, turns, seated=True)

    def _leave(self, place: Place, turns: Turns, *, seated: bool) -> None:
        turns.wanted -= 1
        if seated:
            turns.turn.release()
        if not turns.wanted:
            self._turns.pop(place.name, None)

    async def auth_status(self) -> AuthStatus:
        """Whether somebody is logged in. Never raises: what went wrong is in `error`."""
        said = b""
        try:
            program = await self.programs.start(
                [self.path, "auth", "status", "--json"], cwd=Path.home(), env=self.env, input=False
            )
        except ProviderError as error:
            return AuthStatus(installed=False, logged_in=False, error=error.message)
        try:
            with trio.fail_after(STATUS):
                async for line in program.lines:
                    said += line if said.count(b"\n") < STATUS_LINES else b""
                await program.over.wait()
            status = msgspec.json.decode(said, type=_Status)
        except trio.TooSlowError:
            return AuthStatus(installed=True, logged_in=False, error=f"no answer within {STATUS:g} s")
        except (msgspec.DecodeError, UnicodeDecodeError):
            why = one_line(program.last_words or said.decode("utf-8", "replace")) or "no answer"
            return AuthStatus(installed=True, logged_in=False, error=why)
        finally:
            program.end()
        return AuthStatus(
            installed=True,
            logged_in=status.logged_in,
            email=status.email,
            subscription_type=status.subscription_type,
        )
