"""What every model looks like to an agent, and how to open one. Contract: providers.md §1."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol, assert_never

import msgspec

from goclaw.domain.chat import ChatRequest, StreamChunk
from goclaw.providers.catalogue import Vendor


class Provider(Protocol):
    """Raises ProviderError and nothing else."""

    name: str
    default_model: str

    def stream(self, ask: ChatRequest) -> AbstractAsyncContextManager[AsyncIterator[StreamChunk]]:
        """Ask, and hand out the answer as it comes.

        Entering waits for the first chunk; failures up to there are retried (`retry.py`). The last chunk carries
        `done`. Leaving early closes the connection.
        """

    async def models(self) -> list[str]:
        """The models this provider says it has."""

    async def aclose(self) -> None: ...


def open_provider(
    vendor: Vendor, *, api_key: str = "", base_url: str | None = None, timeout: float = 300.0
) -> Provider:
    """A provider for `vendor`, or for who speaks its language at `base_url`. Opens no connection yet.

    `timeout` bounds a whole call in seconds (`llm_timeout_sec`, agent-loop.md §4).
    """
    if base_url:
        vendor = msgspec.structs.replace(vendor, base_url=base_url)
    match vendor.wire:
        case "openai_chat":
            from goclaw.providers.openai_chat import OpenAIChat  # httpx costs 60 ms; a house without vendors saves it

            return OpenAIChat(vendor, api_key=api_key, timeout=timeout)
        case "offline":
            from goclaw.providers.offline.provider import Offline

            return Offline()
        case _:
            assert_never(vendor.wire)
