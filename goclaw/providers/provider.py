"""What every model looks like to an agent, and how to open one. Contract: providers.md §1."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, assert_never, runtime_checkable

import msgspec

from goclaw.domain.chat import ChatRequest, StreamChunk
from goclaw.domain.model import Note
from goclaw.providers.catalogue import Vendor
from goclaw.security.ssrf import Guard
from goclaw.settings.subprocess import AcpAgent, ClaudeProgram

if TYPE_CHECKING:
    from goclaw.providers.wire import Wire

Tell = Callable[[Note], None]
Sign = Callable[[], Awaitable[dict[str, str]]]  # raises ProviderError


def silent(note: Note) -> None:
    """Nobody wants to know."""


class Model(Protocol):
    """Who can be asked, whoever that is in the end. Raises ProviderError and nothing else."""

    name: str

    def stream(
        self, ask: ChatRequest, *, tell: Tell = silent
    ) -> AbstractAsyncContextManager[AsyncIterator[StreamChunk]]:
        """Ask, and hand out the answer as it comes. The last chunk carries `done`; leaving early ends it."""


class Provider(Protocol):
    """One vendor. Raises ProviderError and nothing else."""

    name: str
    kind: str  # the vendor it is, whatever its name: whose prices hold
    default_model: str

    @property
    def slots(self) -> int:
        """How many keys it has; at least 1."""

    def stream(
        self, ask: ChatRequest, *, slot: int = 0, tell: Tell = silent
    ) -> AbstractAsyncContextManager[AsyncIterator[StreamChunk]]:
        """Ask with key number `slot`, and hand out the answer as it comes.

        Entering waits for the first chunk; failures up to there are retried (`retry.py`) and told. The last chunk
        carries `done`. Leaving early closes the connection.
        """

    async def models(self, *, fresh: bool = False) -> list[str]:
        """The models this provider says it has."""

    async def aclose(self) -> None: ...


@runtime_checkable
class Runs(Protocol):
    """A provider that has something to run beside its answers, in a task of whoever opened it."""

    async def live(self) -> None:
        """Until `aclose` or a cancel. Without it nothing is answered; nothing of it is left when it returns."""


def open_provider(
    vendor: Vendor,
    *,
    keys: tuple[str, ...] = (),
    base_url: str | None = None,
    timeout: float = 300.0,
    at_once: int = 64,
    name: str = "",
    guard: Guard | None = None,
    sign: Sign | None = None,
    program: AcpAgent | ClaudeProgram | None = None,
    data_dir: Path = Path(),
) -> Provider:
    """A provider for `vendor`, or for who speaks its language at `base_url`. Opens no connection yet.

    `timeout` bounds a whole call in seconds (`llm_timeout_sec`, agent-loop.md §4), `at_once` the connections. `name`
    is what it is called, if that is not its vendor's. `guard` says where it may connect to; with one, proxies of the
    environment are ignored. `sign` makes the headers of who pays, instead of a key. `program`: for those that are one.
    """
    if base_url:
        vendor = msgspec.structs.replace(vendor, base_url=base_url)
    match vendor.wire:
        case "offline":
            from goclaw.providers.offline.provider import Offline

            return Offline()
        case "acp":
            from goclaw.providers.acp.provider import Acp

            agent = program if isinstance(program, AcpAgent) else AcpAgent(binary=base_url or "")
            return Acp(vendor.name, agent, data_dir / "acp", timeout=timeout)
        case "claude_cli":
            from goclaw.providers.claude_cli.provider import ClaudeCli

            claude = program if isinstance(program, ClaudeProgram) else ClaudeProgram()
            return ClaudeCli(vendor.name, claude, timeout=timeout)
        case wire:
            from goclaw.providers.http import HttpProvider  # httpx costs 60 ms; a house without vendors saves it

            return HttpProvider(
                vendor,
                _language(wire),
                keys=keys,
                timeout=timeout,
                at_once=at_once,
                name=name,
                guard=guard,
                sign=sign,
            )


def _language(wire: Literal["openai_chat", "responses", "chatgpt_oauth", "anthropic"]) -> Wire:
    """Loaded with the first vendor that speaks it."""
    match wire:
        case "openai_chat":
            from goclaw.providers.wires import chat

            return chat.WIRE
        case "responses" | "chatgpt_oauth":
            from goclaw.providers.wires import responses

            return responses.WIRE
        case "anthropic":
            from goclaw.providers.wires import anthropic

            return anthropic.WIRE
        case _:
            assert_never(wire)
