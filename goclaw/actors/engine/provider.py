"""One provider: opens its client with the first call, lends it to runs, closes it at its end.

Address   /engine/providers/{name}
Contract  providers.md §1
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from goclaw.domain.model import BorrowProvider
from goclaw.providers.provider import Provider
from goclaw.runtime.actor import Actor, Context, handles


class ProviderActor(Actor):
    def __init__(self, open_provider: Callable[[], Provider]) -> None:
        self._open = open_provider
        self._provider: Provider | None = None

    @handles
    async def lend(self, ctx: Context, ask: BorrowProvider) -> Any:
        """The client itself: the caller streams in its own task, so a stuck stream holds nobody up."""
        if self._provider is None:
            self._provider = self._open()
        return self._provider

    async def on_stop(self, ctx: Context, reason: str) -> None:
        if self._provider is not None:
            await self._provider.aclose()
