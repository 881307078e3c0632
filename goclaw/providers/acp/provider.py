"""A provider whose model is an agent program: one per session, kept between prompts. Contract: providers.md §7.1."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from goclaw.domain.chat import ChatRequest, StreamChunk
from goclaw.providers.acp.answer import Answer
from goclaw.providers.acp.pool import Pool
from goclaw.providers.conversation import place_of
from goclaw.providers.program import Programs, environment
from goclaw.providers.provider import Tell, silent
from goclaw.settings.subprocess import AcpAgent

MODEL = "claude"  # an agent's name rather than a model's; providers.md §2


class Acp:
    """`home` is where sessions keep their directories; `timeout` bounds a whole answer in seconds.

    Nothing runs but while `live` does.
    """

    slots = 1

    def __init__(
        self,
        name: str,
        settings: AcpAgent,
        home: Path,
        *,
        timeout: float,
        environ: Mapping[str, str] = os.environ,
        programs: Programs | None = None,
    ) -> None:
        self.name = name
        self.kind = "acp"
        self.default_model = settings.model or MODEL
        self._programs = programs or Programs()
        self._pool = Pool(name, settings, home, environment(environ), self._programs, timeout)

    async def live(self) -> None:
        """Run what this provider keeps running. Every agent has ended when this returns."""
        await self._programs.live()

    async def models(self, *, fresh: bool = False) -> list[str]:
        """The default, and those that agents have offered so far."""
        return list(dict.fromkeys((self.default_model, *self._pool.models)))

    async def aclose(self) -> None:
        self._programs.close()

    @asynccontextmanager
    async def stream(
        self, ask: ChatRequest, *, slot: int = 0, tell: Tell = silent
    ) -> AsyncIterator[AsyncIterator[StreamChunk]]:
        """Waits for the prompt before. Never asks twice: what an agent did before it failed is done."""
        seat = self._pool.seat(place_of(self.name, ask))
        answer = Answer(self._pool, seat, ask, tell)
        try:
            await answer.start()
            yield answer
        finally:
            answer.leave()
