"""What every model looks like to an agent, and how to open one. Contract: providers.md §1."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol, assert_never

import msgspec

from goclaw.domain.chat import ChatRequest, StreamChunk
from goclaw.domain.model import Note
from goclaw.providers.catalogue import Vendor

Tell = Callable[[Note], None]


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

    async def models(self) -> list[str]:
        """The models this provider says it has."""

    async def aclose(self) -> None: ...


def open_provider(
    vendor: Vendor, *, keys: tuple[str, ...] = (), base_url: str | None = None, timeout: float = 300.0
) -> Provider:
    """A provider for `vendor`, or for who speaks its language at `base_url`. Opens no connection yet.

    `timeout` bounds a whole call in seconds (`llm_timeout_sec`, agent-loop.md §4).
    """
    if base_url:
        vendor = msgspec.structs.replace(vendor, base_url=base_url)
    match vendor.wire:
        case "offline":
            from goclaw.providers.offline.provider import Offline

            return Offline()
        case "openai_chat":
            from goclaw.providers.http import HttpProvider  # httpx costs 60 ms; a house without vendors saves it
            from goclaw.providers.wires import chat

            return HttpProvider(vendor, chat.WIRE, keys=keys, timeout=timeout)
        case "responses" | "chatgpt_oauth":
            from goclaw.providers.http import HttpProvider
            from goclaw.providers.wires import responses

            return HttpProvider(vendor, responses.WIRE, keys=keys, timeout=timeout)
        case "anthropic":
            from goclaw.providers.http import HttpProvider
            from goclaw.providers.wires import anthropic

            return HttpProvider(vendor, anthropic.WIRE, keys=keys, timeout=timeout)
        case _:
            assert_never(vendor.wire)
