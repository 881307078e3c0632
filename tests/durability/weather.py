"""What can happen to the database of a living gateway, and what the gateway says of itself meanwhile."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import trio

from tests.durability.checker import Said, counts, verify
from tests.durability.lives import Lives
from tests.durability.patience import LOOK, until
from tests.durability.storm import SCRIPTS
from tests.durability.talker import Talker
from tests.fakes.scripted import ScriptedVendor


class Health:
    """What /health said while the block ran, as a list of changes."""

    def __init__(self, gateway: Lives) -> None:
        self.gateway = gateway
        self.said: list[tuple[float, str]] = []  # trio's clock, status

    async def watch(self) -> None:
        async with httpx.AsyncClient(base_url=self.gateway.address, timeout=10) as http:
            while True:
                status = str((await http.get("/health")).json()["status"])
                if not self.said or self.said[-1][1] != status:
                    self.said.append((trio.current_time(), status))
                await trio.sleep(LOOK)

    async def becomes(self, status: str, within: float) -> float:
        """Seconds until it says so."""
        return await until(lambda: self.said and self.said[-1][1] == status, within)


class Weather:
    """Clients that talk for as long as the bad weather lasts, and what they know at its end."""

    def __init__(self, gateway: Lives, vendor: ScriptedVendor, clients: int, seed: int = 0) -> None:
        self.gateway = gateway
        self.vendor = vendor
        self.health = Health(gateway)
        self.talkers = [Talker(gateway, f"client{n}") for n in range(clients)]
        self.random = random.Random(seed)
        self.number = 0
        self.over = False

    async def during(self, faults: Callable[[Health], Awaitable[None]]) -> None:
        """Run `faults` under load, then check. The gateway may not have ended or been told of a crash loop."""
        pid = self.gateway.pid
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.health.watch)
            async with trio.open_nursery() as self.talks:
                for talker in self.talkers:
                    self.talks.start_soon(self._talk, talker)
                await faults(self.health)
                self.over = True
            await self.health.becomes("ok", within=10)
            nursery.cancel_scope.cancel()
        assert self.gateway.alive
        assert self.gateway.pid == pid
        await self.gateway.quiet()
        evidence = self.gateway.evidence(self.said, self.vendor)
        self.counts = counts(evidence)
        verify(evidence)

    @property
    def said(self) -> list[Said]:
        return [said for talker in self.talkers for said in talker.notes]

    @property
    def answered(self) -> int:
        return sum(said.content is not None for said in self.said)

    @property
    def refused(self) -> int:
        return sum(len(talker.refusals) for talker in self.talkers)

    @property
    def refusals(self) -> set[str]:
        """Codes of the refusals that were answered by saying it again."""
        return {code for talker in self.talkers for code in talker.refusals}

    async def _talk(self, talker: Talker) -> None:
        while not self.over:
            self.number += 1
            await talker.say(f"n{self.number} {self.random.choice(SCRIPTS)}".strip())

    async def is_refused(self, times: int, within: float) -> None:
        """Until so many more turns were refused with "try again".

        One client begins only now: all others may wait for answers that cannot be kept.
        """
        wanted = self.refused + times
        late = Talker(self.gateway, f"client{len(self.talkers)}")
        self.talkers.append(late)
        self.talks.start_soon(self._talk, late)
        await until(lambda: self.refused >= wanted, within)

    async def answers_again(self, within: float) -> float:
        """Seconds until a turn that is said now has its answer."""
        began = trio.current_time()
        probe = Talker(self.gateway, f"probe{len(self.talkers)}")
        self.talkers.append(probe)
        self.number += 1
        with trio.fail_after(within):
            await probe.say(f"n{self.number}")
        return trio.current_time() - began


def backends(postmaster: int) -> list[int]:
    """Processes that serve a client."""
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    return [int(child) for child in children if b"postgres: goclaw postgres" in _title(child)]


def _title(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


def kill_a_backend(gateway: Lives, chance: random.Random) -> bool:
    """As the kernel would when memory is short; the server restarts itself. False if there was none just now."""
    with suppress(ProcessLookupError, FileNotFoundError):
        if found := backends(gateway.postmaster):
            os.kill(chance.choice(found), signal.SIGKILL)
            return True
    return False


async def kill_the_postmaster(gateway: Lives) -> None:
    """And wait until there is another one."""
    before = gateway.postmaster
    os.kill(before, signal.SIGKILL)

    def there_is_another() -> bool:
        with suppress(FileNotFoundError, ValueError, IndexError):
            return gateway.postmaster != before
        return False

    await until(there_is_another, within=30)


@contextmanager
def small_disk(at: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own. Raises PermissionError where mounting is not allowed."""
    at.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(at)], capture_output=True)
    if done.returncode:
        raise PermissionError(done.stderr.decode().strip())
    try:
        yield at
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


def fill(disk: Path) -> Path:
    """Take all the space there is, in one file that may be removed again."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(64 * 1024)):
            pass
    return ballast
