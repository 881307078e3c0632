"""One agent program and the session it holds: the handshake, prompts, and what it asks of us.

Contract: providers.md §7.1. Versions and shapes are those of protocol version 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import structlog
import trio
from msgspec import Raw, Struct

from goclaw import __version__
from goclaw.domain.errors import ProviderError
from goclaw.providers.acp.files import Files
from goclaw.providers.acp.peer import BROKEN, FAILED, NO_METHOD, Gone, Peer, Refusal
from goclaw.providers.acp.permission import PermMode, decide, decide_old, may
from goclaw.providers.acp.terminals import Terminals
from goclaw.providers.acp.updates import Piece, Told
from goclaw.providers.program import Program, Programs
from goclaw.providers.trouble import kind_of, one_line

PROTOCOL = 1
AUTH_REQUIRED = -32000  # with a message that says so; other refusals use this number too
HANDSHAKE = 60.0  # seconds for `initialize` and for the session; an agent may be a slow starter

log = structlog.get_logger()


class _PromptCaps(Struct, frozen=True):
    image: bool = False


class _Caps(Struct, frozen=True, rename="camel"):
    load_session: bool = False
    prompt_capabilities: _PromptCaps = _PromptCaps()


class _Hello(Struct, frozen=True, rename="camel"):
    protocol_version: int = PROTOCOL
    agent_capabilities: _Caps = _Caps()


class _Model(Struct, frozen=True, rename="camel"):
    model_id: str


class _Models(Struct, frozen=True, rename="camel"):
    available_models: list[_Model] = []
    current_model_id: str = ""


class _Session(Struct, frozen=True, rename="camel"):
    session_id: str = ""
    models: _Models | None = None


class Spent(Struct, frozen=True, rename="camel"):
    """Tokens of one prompt, from agents that count them."""

    input_tokens: int = 0
    output_tokens: int = 0
    thought_tokens: int | None = None
    cached_read_tokens: int | None = None
    cached_write_tokens: int | None = None


class Stopped(Struct, frozen=True, rename="camel"):
    """How a prompt ended."""

    stop_reason: str = "end_turn"
    usage: Spent | None = None


class Agent:
    """Lives as long as its program. One prompt at a time, which whoever owns it sees to."""

    def __init__(self, programs: Programs, root: Path, perm_mode: PermMode, env: Mapping[str, str]) -> None:
        self.session = ""
        self.models: tuple[str, ...] = ()
        self.takes_images = False
        self._programs = programs
        self._root = root
        self._mode = perm_mode
        self._env = env
        self._files = Files(root)
        self._terminals = Terminals(programs, root, env)
        self._told = Told()
        self._peer = Peer(self._serve, self._hear)
        self._program: Program | None = None
        self._reloads = False
        self._model = ""
        self._answer: trio.MemorySendChannel[Piece] | None = None

    @property
    def dying(self) -> bool:
        return self._program is None or self._program.dying

    async def start(self, command: Sequence[str]) -> None:
        """Start the program and shake hands. Raises ProviderError."""
        self._program = await self._programs.start(command, cwd=self._root, env=self._env, beside=self._live)
        self._peer.write_to(self._program)
        hello = await self._ask(
            "initialize",
            {
                "protocolVersion": PROTOCOL,
                "clientInfo": {"name": "goclaw", "version": __version__},
                "clientCapabilities": {"fs": {"readTextFile": True, "writeTextFile": True}, "terminal": True},
            },
            _Hello,
        )
        if hello.protocol_version != PROTOCOL:
            said = f"speaks version {hello.protocol_version} of the protocol, not {PROTOCOL}"
            raise ProviderError("unknown", f"{self._program.name} {said}")
        self._reloads = hello.agent_capabilities.load_session
        self.takes_images = hello.agent_capabilities.prompt_capabilities.image

    async def take_up(self, known: str) -> bool:
        """Go on with the session `known` if the agent can, else begin one. True if it remembers what was said."""
        place = {"cwd": str(self._root), "mcpServers": []}
        opened, again = None, False
        if known and self._reloads:
            try:
                opened = await self._ask("session/load", {"sessionId": known, **place}, _Session, refusable=True)
                self.session, again = known, True
            except Refusal as refusal:
                log.info("acp.session_not_reloaded", error=one_line(refusal.message))
        if opened is None:
            opened = await self._ask("session/new", place, _Session)
            if not opened.session_id:
                raise ProviderError("server_error", "session/new was answered without a sessionId")
            self.session = opened.session_id
        if opened.models is not None:
            self.models = tuple(offered.model_id for offered in opened.models.available_models)
            self._model = opened.models.current_model_id
        return again

    async def choose(self, model: str) -> None:
        """Answer with `model` from now on, if that is one of those the agent offers. Raises ProviderError."""
        if model in self.models and model != self._model:
            await self._ask("session/set_model", {"sessionId": self.session, "modelId": model}, _Session)
            self._model = model

    async def prompt(self, blocks: list[dict[str, Any]], answer: trio.MemorySendChannel[Piece]) -> Stopped:
        """Have it answer; what it says goes to `answer`. Raises ProviderError. Not to be cancelled: `settle`."""
        self._told.begin()
        self._answer = answer
        try:
            asked = {"sessionId": self.session, "prompt": blocks}
            stopped: Stopped = await self._ask("session/prompt", asked, Stopped, None)
            return stopped
        finally:
            self._answer = None

    async def interrupt(self) -> None:
        """Ask it to stop answering; the prompt then ends as cancelled."""
        with suppress(Gone):
            await self._peer.notify("session/cancel", {"sessionId": self.session})

    def end(self) -> None:
        """Have it ended. Does not wait."""
        if self._program is not None:
            self._program.end()

    async def ended(self) -> None:
        """Wait until it has."""
        if self._program is not None:
            await self._program.over.wait()

    async def _live(self, program: Program) -> None:
        try:
            await self._peer.run(program)
        finally:
            self._terminals.close()

    async def _ask(
        self, method: str, params: dict[str, Any], kind: type[Any], within: float | None = HANDSHAKE, *,
        refusable: bool = False,
    ) -> Any:  # fmt: skip
        """The answer as `kind`. Raises ProviderError, and Refusal if it is `refusable`."""
        assert self._program is not None
        name = self._program.name
        try:
            with trio.fail_after(float("inf") if within is None else within):
                raw = await self._peer.call(method, params)
            return msgspec.json.decode(raw, type=kind) if bytes(raw) != b"null" else kind()
        except Gone:
            raise await self._program.obituary() from None
        except trio.TooSlowError:
            raise ProviderError("timeout", f"{name} did not answer {method} within {within:g} s") from None
        except BROKEN as error:
            raise ProviderError("server_error", one_line(f"{name}: {method}: {error}")) from error
        except Refusal as refusal:
            if refusable:
                raise
            auth = refusal.code == AUTH_REQUIRED and "auth" in refusal.message.lower()
            trouble = "auth" if auth else kind_of(500, refusal.message)
            raise ProviderError(trouble, one_line(f"{name}: {refusal.message}")) from None

    # --- what it asks and tells ---------------------------------------------------------------

    async def _serve(self, method: str, params: Raw) -> Any:
        match method:
            case "fs/read_text_file" | "fs/readTextFile":
                self._need(method, read=True)
                return await self._files.read(params)
            case "fs/write_text_file" | "fs/writeTextFile":
                self._need(method)
                return await self._files.write(params)
            case "terminal/create":
                self._need(method)
                return await self._terminals.create(params)
            case "terminal/output":
                return await self._terminals.output(params)
            case "terminal/wait_for_exit" | "terminal/waitForExit":
                return await self._terminals.wait_for_exit(params)
            case "terminal/kill":
                return await self._terminals.kill(params)
            case "terminal/release":
                return await self._terminals.release(params)
            case "session/request_permission":
                return decide(self._mode, params, self._told.kinds)
            case "permission/request":
                return decide_old(self._mode, params)
        raise Refusal(NO_METHOD, f"there is no method {method[:80]}")

    def _need(self, method: str, *, read: bool = False) -> None:
        if not may(self._mode, read=read):
            raise Refusal(FAILED, f"{method} is not permitted here ({self._mode})")

    async def _hear(self, method: str, params: Raw) -> None:
        if method != "session/update":
            return
        try:
            piece = self._told.piece(params)
        except BROKEN as error:
            log.debug("acp.garbage", error=str(error))
            return
        if piece is not None and self._answer is not None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # nobody listens to it any more
                await self._answer.send(piece)
