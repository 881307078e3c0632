"""Clients that talk while somebody kills the gateway, and the table of what came of it."""

from __future__ import annotations

import os
import random
import signal
from dataclasses import dataclass, field
from itertools import count

import trio

from tests.durability.checker import Said, counts, verify
from tests.durability.lives import Lives
from tests.durability.talker import Talker
from tests.fakes.scripted import ScriptedVendor

SCRIPTS = ("", "", "", "", "slow", "slow", "echo", "echo+echo", "append", "append+append", "post", "append; post")


@dataclass
class Storm:
    """`inputs` at least, from `clients` of one session each, while the gateway is killed `kills` times.

    A life lasts between half a start and `longest` seconds more than a start: now and then one ends before it was
    ready.
    """

    gateway: Lives
    vendor: ScriptedVendor
    clients: int
    inputs: int
    kills: int
    longest: float = 2.0
    gently: bool = False  # SIGTERM, and only when it is ready
    seed: int = 0
    talkers: list[Talker] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)  # seconds from the first instruction to ready
    over: bool = False  # no kill comes any more

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.numbers = count(1)
        self.talkers = [Talker(self.gateway, f"client{n}") for n in range(self.clients)]

    async def blow(self) -> None:
        """All of it, and the checker's verdict. The gateway lives at the end."""
        async with trio.open_nursery() as nursery:
            for talker in self.talkers:
                nursery.start_soon(self._talk, talker)
            await (self._stop() if self.gently else self._kill())
            self.over = True
            await self._live()
        await self.gateway.quiet()
        self.evidence = self.gateway.evidence(self.said, self.vendor)
        self.counts = counts(self.evidence)
        verify(self.evidence)

    @property
    def said(self) -> list[Said]:
        return [said for talker in self.talkers for said in talker.notes]

    async def _talk(self, talker: Talker) -> None:
        share = self.inputs / self.clients
        while not self.over or sum(said.content is not None for said in talker.notes) < share:
            texts = [f"n{next(self.numbers)} {self.random.choice(SCRIPTS)}".strip() for _ in range(5)]
            await talker.say(*texts)

    async def _kill(self) -> None:
        await self._live()
        start = self.starts[0]
        await trio.sleep(self.random.uniform(0, self.longest))
        self.gateway.kill()
        for _ in range(self.kills - 1):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._live)
                await trio.sleep(self.random.uniform(start / 2, start + self.longest))
                os.kill(self.gateway.pid, signal.SIGKILL)
            await trio.to_thread.run_sync(self.gateway.reap)

    async def _stop(self) -> None:
        for _ in range(self.kills):
            await self._live()
            await trio.sleep(self.random.uniform(0, self.longest))
            assert await self.gateway.terminate() == 0

    async def _live(self) -> None:
        began = trio.current_time()
        if await trio.to_thread.run_sync(self.gateway.live_or_die):
            self.starts.append(trio.current_time() - began)

    def table(self) -> str:
        starts = sorted(self.starts)
        rows = {
            "kills": self.kills,
            **self.counts._asdict(),
            "reconnects": sum(talker.reconnects for talker in self.talkers),
            "refused, said again": sum(len(talker.refusals) for talker in self.talkers),
            "ready after exec, s, median": round(starts[len(starts) // 2], 2),
            "ready after exec, s, longest": round(starts[-1], 2),
            "lost": 0,
            "double": 0,
        }
        return "\n".join(f"{name:<32}{value:>10}" for name, value in rows.items())
