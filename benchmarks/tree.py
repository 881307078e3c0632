"""What a look at 10,000 actors costs and how long it holds others up: `python -m benchmarks.tree`.

Wall time of one look and the longest pause of the loop meanwhile, both the best of `ROUNDS`: on a shared machine a
pause may be somebody else's. Beside it the same facts gathered without giving way. Targets: supervision.md §19.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable, Callable

import msgspec
import trio

from goclaw.domain.access import Caller
from goclaw.operations.actor_sight import Sight
from goclaw.operations.context import Context, House
from goclaw.runtime import tree
from goclaw.runtime.actor import Actor, handles
from goclaw.runtime.actor import Context as Handling
from goclaw.runtime.address import Address
from goclaw.runtime.cell import Cell
from goclaw.runtime.child import Child, Strategy
from goclaw.runtime.message import Message
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import System, open_system
from goclaw.settings.settings import Settings

ROUNDS = 7
BRANCHES, LEAVES = 50, 199  # with their supervisors 10,000; no branch is longer than what one look shows
ROOT = Address()


class Ping(Message[int]):
    pass


class Leaf(Actor):
    @handles
    def ping(self, ctx: Handling, ask: Ping) -> int:
        return 1

    def snapshot(self) -> dict[str, object]:
        return {"state": "idle", "waiting": 0}


class NoDatabase:
    async def run(self, work: object, /, *args: object, **kwargs: object) -> object:
        raise NotImplementedError


def branch() -> Supervisor:
    return Supervisor([Child(f"leaf{n}", Leaf, dormant=True) for n in range(LEAVES)], strategy=Strategy.ONE_FOR_ONE)


def forest() -> Supervisor:
    return Supervisor([Child(f"branch{n}", branch) for n in range(BRANCHES)])


class Pauses:
    """How long the loop let a task that is always ready wait."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        before = time.perf_counter()
        while True:
            await trio.lowlevel.checkpoint()
            now = time.perf_counter()
            self.longest = max(self.longest, now - before)
            before = now


async def settled() -> None:
    """Everybody had a turn."""
    for _ in range(3):
        await trio.lowlevel.checkpoint()


async def looked(work: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Milliseconds of the fastest look, and the shortest of the longest pauses."""
    times, pauses = [], []
    for _ in range(ROUNDS):
        gc.collect()
        gc.disable()
        watching = Pauses()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watching.watch)
            await settled()
            watching.longest = 0.0
            began = time.perf_counter()
            kept = await work()  # freeing it is not part of the look
            times.append(time.perf_counter() - began)
            await settled()
            nursery.cancel_scope.cancel()
        del kept
        gc.enable()
        pauses.append(watching.longest)
    return min(times) * 1000, min(pauses) * 1000


async def at_once(system: System) -> object:
    """The baseline: every actor's facts in one go."""
    view = tree.View(system, tree.EVERYBODY, live=False)
    return [view.facts(member) for member in list(system.members.values())]


async def encoded(sight: Sight, system: System) -> object:
    """A look, as it leaves the HTTP edge."""
    node = await tree.describe(system, ROOT, 16)
    assert node is not None
    return msgspec.json.encode(await sight.show(node))


async def main() -> None:
    async with open_system(NoDatabase(), debug=False) as system:
        await system.start(Child("", forest))
        cells = [member for member in system.members.values() if isinstance(member, Cell)]
        for cell in cells:
            if isinstance(cell.spec.start, type) and issubclass(cell.spec.start, Leaf):
                await system.ask(cell.address, Ping(), within=5)
        house = House(Settings(), system, version="", node_id="", tools=0)
        sight = Sight(Context(house, Caller(is_owner=True)))
        gc.freeze()
        rows: list[tuple[str, Callable[[], Awaitable[object]]]] = [
            ("baseline: all facts in one go", lambda: at_once(system)),
            ("tree, all levels", lambda: tree.describe(system, ROOT, 16)),
            ("tree, live fields", lambda: tree.describe(system, ROOT, 16, live=True)),
            ("tree, filtered to nobody", lambda: tree.describe(system, ROOT, 16, tree.Filter(state="quarantined"))),
            ("flat, sorted, 50 of all", lambda: tree.flat(system, ROOT, tree.EVERYBODY, sort="handle")),
            ("totals", lambda: tree.totals(system)),
            ("tree as JSON", lambda: encoded(sight, system)),
        ]
        print(f"{len(cells):,} actors; targets 150 ms and 5 ms\n")
        print(f"{'':32}{'ms':>8}{'longest pause ms':>20}")
        for name, work in rows:
            took, pause = await looked(work)
            print(f"{name:32}{took:8.1f}{pause:20.2f}")


if __name__ == "__main__":
    trio.run(main)
