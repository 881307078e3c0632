"""What the actor kernel costs, beside what it is built on: `python -m benchmarks.runtime`.

CPU time per operation, the best of `ROUNDS` rounds, baselines measured in the same run: on a shared machine
only the ratios mean something. Targets: supervision.md §19.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from functools import partial

import pykka
import structlog
import trio
import trio.testing

from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.blocking import BlockingActor, ThreadContext
from goclaw.runtime.cell import Cell
from goclaw.runtime.child import Backoff, Child, Limit, Strategy
from goclaw.runtime.faults import ActorCrashed
from goclaw.runtime.message import Message
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import System, open_system
from goclaw.runtime.virtual import Virtual

ROUNDS = 5
ROOM = 20_000
CROWD = 100_000
ECHO = Address("echo")


class Ping(Message[int]):
    n: int = 0


class Crash(Message[None]):
    pass


class Echo(Actor):
    capacity = ROOM

    @handles
    def ping(self, ctx: Context, ask: Ping) -> int:
        return ask.n

    @handles
    def crash(self, ctx: Context, ask: Crash) -> None:
        raise RuntimeError("as asked")


class Library(BlockingActor):
    @handles
    def ping(self, ctx: ThreadContext, ask: Ping) -> int:
        return ask.n


class NoDatabase:
    async def run(self, work: object, /, *args: object, **kwargs: object) -> object:
        raise NotImplementedError


def house() -> Supervisor:
    return Supervisor(
        [
            Child("echo", Echo, backoff=Backoff(first=0.0)),
            Child("sleepy", sleepy),
            Child("library", Library),
            Child("many", many),
        ],
        limit=Limit(restarts=10**9, within=1.0),
    )


def sleepy() -> Virtual:
    return Virtual(lambda address: Echo(), idle=math.inf, most=10**6)


def many() -> Supervisor:
    return Supervisor(strategy=Strategy.DYNAMIC)


async def best(operations: int, work: Callable[[], Awaitable[object]]) -> float:
    """Microseconds of CPU per operation, of the best round."""
    rounds = []
    for _ in range(ROUNDS):
        gc.collect()
        began = time.process_time()
        await work()
        rounds.append(time.process_time() - began)
    return min(rounds) / operations * 1e6


# --- ours -------------------------------------------------------------------------------------


async def tell(system: System, to: Address) -> float:
    """Bursts as large as the mailbox, handled before the next one starts."""

    async def burst() -> None:
        ping = Ping(n=1)
        for _ in range(ROOM - 1):
            system.tell(to, ping)
        await system.ask(to, ping, within=60)

    return await best(ROOM, burst)


async def ask(system: System, to: Address) -> float:
    async def one_after_the_other() -> None:
        ping = Ping(n=1)
        for _ in range(5_000):
            await system.ask(to, ping, within=60)

    return await best(5_000, one_after_the_other)


async def ask_together(system: System, to: Address) -> float:
    async def asker() -> None:
        ping = Ping(n=1)
        for _ in range(100):
            await system.ask(to, ping, within=60)

    async def together() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(asker)

    return await best(10_000, together)


def owner_of_many(system: System) -> Cell:
    cell = system.members[Address("many")]
    assert isinstance(cell, Cell)
    return cell


async def spawn(system: System) -> float:
    """Start and stop 1,000 residents below a dynamic supervisor, without waiting for each."""
    many = owner_of_many(system)
    numbers = iter(range(10**9))

    async def start_many() -> None:
        for _ in range(1_000):
            many.family.start_soon(Child(str(next(numbers)), Echo))
        await trio.testing.wait_all_tasks_blocked()

    return await best(1_000, start_many)


async def activate(system: System) -> float:
    numbers = iter(range(10**9))

    async def first_messages() -> None:
        ping = Ping(n=1)
        for _ in range(1_000):
            system.tell(Address("sleepy", str(next(numbers)), "k"), ping)
        await trio.testing.wait_all_tasks_blocked()

    return await best(1_000, first_messages)


async def ask_waits(system: System, to: Address) -> tuple[float, float]:
    """p50 and p99 of a round trip in wall-clock microseconds, 20,000 one after the other."""
    ping, took = Ping(n=1), []
    for _ in range(20_000):
        began = time.perf_counter()
        await system.ask(to, ping, within=60)
        took.append(time.perf_counter() - began)
    took.sort()
    return took[10_000] * 1e6, took[19_800] * 1e6


async def collection_pause(system: System) -> float:
    """Milliseconds a full collection holds the loop, with everything alive that the run has made so far."""
    gc.collect()
    began = time.perf_counter()
    gc.collect()
    return (time.perf_counter() - began) * 1e3


async def recovery(system: System) -> float:
    """From the message that crashes the actor to the next incarnation's first answer."""

    async def crash_and_ask() -> None:
        for _ in range(100):
            try:
                await system.ask(ECHO, Crash(), within=60)
            except ActorCrashed:
                await system.ask(ECHO, Ping(), within=60)

    return await best(100, crash_and_ask)


async def idle_bytes(make: Callable[[int], object], count: int) -> float:
    """Traced bytes per idle actor: its cell, address, registry entries and an empty actor."""
    gc.collect()
    tracemalloc.start()
    for number in range(count):
        make(number)
        if number % 100 == 0:  # so that trio's own sets do not grow with the crowd
            await trio.testing.wait_all_tasks_blocked()
    await trio.testing.wait_all_tasks_blocked()
    gc.collect()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return held / count


# --- what it is built on ------------------------------------------------------------------------


async def trio_event() -> float:
    """A round trip with one event each way: the least two tasks can do with trio's own parts."""
    there, back = trio.Event(), trio.Event()

    async def echo() -> None:
        nonlocal there, back
        while True:
            await there.wait()
            there = trio.Event()
            back.set()

    async def trips() -> None:
        nonlocal back
        for _ in range(5_000):
            back = trio.Event()
            there.set()
            await back.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo)
        cost = await best(5_000, trips)
        nursery.cancel_scope.cancel()
    return cost


async def trio_channel_ask() -> float:
    """A memory channel to the actor, an event and a deadline per ask: the textbook actor."""
    send, receive = trio.open_memory_channel[trio.Event](1)

    async def echo() -> None:
        async for done in receive:
            done.set()

    async def trips() -> None:
        for _ in range(5_000):
            done = trio.Event()
            with trio.fail_after(60):
                await send.send(done)
                await done.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo)
        cost = await best(5_000, trips)
        nursery.cancel_scope.cancel()
    return cost


async def trio_channel_tell() -> float:
    """A producer and a consumer, as with asyncio."""
    send, receive = trio.open_memory_channel[int](1024)

    async def produce() -> None:
        for n in range(ROOM):
            await send.send(n)

    async def burst() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(produce)
            for _ in range(ROOM):
                await receive.receive()

    return await best(ROOM, burst)


async def asyncio_queue_ask() -> float:
    queue: asyncio.Queue[asyncio.Future[int]] = asyncio.Queue()

    async def echo() -> None:
        while True:
            (await queue.get()).set_result(1)

    async def trips() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(5_000):
            answer: asyncio.Future[int] = loop.create_future()
            queue.put_nowait(answer)
            await answer

    task = asyncio.create_task(echo())
    cost = await best(5_000, trips)
    task.cancel()
    return cost


async def asyncio_queue_tell() -> float:
    """A producer and a consumer, each a task of its own, and a queue as deep as a mailbox."""
    queue: asyncio.Queue[int] = asyncio.Queue(maxsize=1024)

    async def produce() -> None:
        for n in range(ROOM):
            await queue.put(n)

    async def burst() -> None:
        producer = asyncio.create_task(produce())
        for _ in range(ROOM):
            await queue.get()
        await producer

    return await best(ROOM, burst)


class Job(pykka.ThreadingActor):
    use_daemon_thread = True

    def on_receive(self, message: Callable[[], None]) -> None:
        message()


class Thread(pykka.ThreadingActor):
    def on_receive(self, message: int) -> int:
        return message


async def bridge_ask() -> float:
    """Hand a call to a pykka thread and be woken by it: what a blocking actor is built on."""
    actor = Job.start()
    token = trio.lowlevel.current_trio_token()

    async def trips() -> None:
        for _ in range(5_000):
            done = trio.Event()
            actor.tell(partial(token.run_sync_soon, done.set))
            await done.wait()

    cost = await best(5_000, trips)
    actor.stop(block=False)
    return cost


async def pykka_tell() -> float:
    actor = Thread.start()

    async def burst() -> None:
        for n in range(ROOM):
            actor.tell(n)
        actor.ask(0)

    cost = await best(ROOM, burst)
    actor.stop()
    return cost


async def pykka_ask() -> float:
    actor = Thread.start()

    async def trips() -> None:
        for n in range(5_000):
            actor.ask(n)

    cost = await best(5_000, trips)
    actor.stop()
    return cost


# --- the report -----------------------------------------------------------------------------------


def line(name: str, cost: float, beside: dict[str, float], unit: str = "µs") -> None:
    ratios = "".join(f"   {cost / other:5.2f} × {label}" for label, other in beside.items())
    print(f"{name:<34}{cost:9.2f} {unit}{ratios}")


async def measure(others: dict[str, float]) -> None:
    event, channel_ask, channel_tell = await trio_event(), await trio_channel_ask(), await trio_channel_tell()
    for name, cost in (
        ("trio: event round trip", event),
        ("trio: channel, event, deadline", channel_ask),
        ("trio: channel, one way", channel_tell),
        *others.items(),
    ):
        line(name, cost, {})
    print()

    asked = {"trio event": event, "trio channel": channel_ask, "asyncio": others["asyncio: queue and future"]}
    asked["pykka"] = others["pykka: ask"]
    told = {"trio channel": channel_tell, "asyncio": others["asyncio: queue, one way"], "pykka": others["pykka: tell"]}
    async with open_system(NoDatabase()) as system:
        await system.start(Child("/", house))
        asleep = Address("sleepy", "acme", "k")
        line("tell, resident", await tell(system, ECHO), told)
        line("tell, dormant", await tell(system, asleep), told)
        line("ask, resident", await ask(system, ECHO), asked)
        line("ask, dormant", await ask(system, asleep), asked)
        line("ask, resident, 100 askers", await ask_together(system, ECHO), asked)
        line("start a resident", await spawn(system), {})
        line("activate a virtual", await activate(system), {})
        line("crash to the next answer", await recovery(system), {})

        many = owner_of_many(system)
        p50, p99 = await ask_waits(system, ECHO)
        print(f"{'ask, resident, wall clock':<34}{p50:9.1f} µs p50{p99:9.1f} µs p99")
        bridge = await bridge_ask()
        line("trio to a pykka thread and back", bridge, {})
        line("ask, blocking actor", await ask(system, Address("library")), {"bridge": bridge})
        resident = await idle_bytes(lambda n: many.family.start_soon(Child(f"idle-{n}", Echo)), 1_000)
        dormant = await idle_bytes(lambda n: system.tell(Address("sleepy", "idle", str(n)), Ping()), CROWD)
        line("idle resident", resident, {}, "bytes")
        line(f"idle dormant, {CROWD:,} of them", dormant, {}, "bytes")
        line("full collection over that crowd", await collection_pause(system), {}, "ms")


async def on_asyncio() -> dict[str, float]:
    return {
        "asyncio: queue and future": await asyncio_queue_ask(),
        "asyncio: queue, one way": await asyncio_queue_tell(),
        "pykka: tell": await pykka_tell(),
        "pykka: ask": await pykka_ask(),
    }


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    gc.set_threshold(50_000, 50, 1_000)  # as the gateway sets them; supervision.md §10.1 V7
    trio.run(measure, asyncio.run(on_asyncio()))


if __name__ == "__main__":
    main()
