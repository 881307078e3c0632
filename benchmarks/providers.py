"""What our client adds to bare httpx, and what the offline model costs: CPU per turn, in one run.

    python -m benchmarks.providers [--turns 400]

The vendor is a process of its own (`tests.fakes.vendor`) that answers 20 chunks without delay.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import httpx
import trio

from goclaw.domain.chat import ChatMessage, ChatRequest
from goclaw.providers.catalogue import Vendor
from goclaw.providers.offline.provider import Offline
from goclaw.providers.provider import Provider, open_provider
from goclaw.providers.wire import Learned
from goclaw.providers.wires.chat.request import write

ASK = ChatRequest(messages=(ChatMessage(role="user", content="hello"),), model="fixed-20")
LOAD = ChatRequest(messages=ASK.messages, model="offline-load")

Turn = Callable[[], Awaitable[None]]


def bare(http: httpx.AsyncClient, url: str) -> Turn:
    """The least a turn over httpx can be: send, read every byte, understand nothing."""
    body = write(ASK, Vendor("bare"), Learned()).body

    async def turn() -> None:
        async with http.stream("POST", f"{url}/chat/completions", content=body) as response:
            async for _ in response.aiter_raw():
                pass

    return turn


def through(provider: Provider, ask: ChatRequest) -> Turn:
    async def turn() -> None:
        async with provider.stream(ask) as chunks:
            async for _ in chunks:
                pass

    return turn


async def cost(turn: Turn, turns: int, at_once: int) -> float:
    """CPU microseconds of this process per turn."""

    async def some(count: int) -> None:
        for _ in range(count):
            await turn()

    await some(20)  # connections, caches
    before = time.process_time()
    async with trio.open_nursery() as nursery:
        for _ in range(at_once):
            nursery.start_soon(some, turns // at_once)
    return (time.process_time() - before) / (turns // at_once * at_once) * 1e6


async def measure(url: str, turns: int) -> None:
    ours = open_provider(Vendor("fake"), base_url=url)
    async with httpx.AsyncClient() as http:
        print("at once   bare httpx      ours   added   (µs CPU per turn of 20 chunks)")
        for at_once in (1, 16, 50):
            floor = min([await cost(bare(http, url), turns, at_once) for _ in range(3)])
            full = min([await cost(through(ours, ASK), turns, at_once) for _ in range(3)])
            print(f"{at_once:7d} {floor:12.0f} {full:9.0f} {full - floor:7.0f}")
    await ours.aclose()
    each = min([await cost(through(Offline(), LOAD), turns, 16) for _ in range(3)])
    print(f"offline-load: {each:.0f} µs CPU per call of 200 tokens, {1e6 / each:.0f} calls/s on one core")


def main() -> None:
    parser = argparse.ArgumentParser(description="What our client adds to bare httpx")
    parser.add_argument("--turns", type=int, default=400)
    turns = parser.parse_args().turns
    vendor = subprocess.Popen([sys.executable, "-m", "tests.fakes.vendor"], stdout=subprocess.PIPE, text=True)
    try:
        assert vendor.stdout is not None
        trio.run(measure, vendor.stdout.readline().strip(), turns)
    finally:
        vendor.terminate()
        vendor.wait()


if __name__ == "__main__":
    main()
