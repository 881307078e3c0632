"""What our client adds to bare httpx: CPU per turn, latency per chunk, 200 streams at once; and the offline model.

    python -m benchmarks.providers [--turns 400]

The vendor is a process of its own that streams chunks, each with the moment it was sent, on two wires. Clocks of
processes on one machine are the same clock. A paced answer lasts five seconds and keeps to its own schedule, and the
answers begin at random moments: were each pause counted from the last chunk, a stall would gather all streams in one
burst that never dissolves, and the burst would be what is measured.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import httpx
import trio

from goclaw.domain.chat import ChatMessage, ChatRequest
from goclaw.providers.catalogue import Vendor
from goclaw.providers.offline.provider import Offline
from goclaw.providers.provider import Provider, open_provider
from goclaw.providers.wire import Learned
from goclaw.providers.wires import anthropic, chat
from tests.fakes.http1 import END, HEAD, chunked, next_request

CHUNKS = 20  # of an answer that comes at once
PACE = 20  # chunks a second of one that is paced …
ANSWER = 5  # … for as many seconds
FEW, STREAMS, PROVIDERS = 10, 200, 4  # at once; a provider opens at most 64 connections
SECONDS = 10.0
TICK = 0.005  # seconds; how the lag of the loop is felt
ASK = ChatRequest(messages=(ChatMessage(role="user", content="hello"),), model="m")
LOAD = ChatRequest(messages=ASK.messages, model="offline-load")
SENT = re.compile(rb"at (\d+\.\d+) ")


class Side(NamedTuple):
    """A wire, and what the vendor says on it."""

    vendor: Vendor
    path: str
    body: bytes
    start: bytes
    piece: bytes
    end: bytes


def sse(*documents: str) -> bytes:
    return b"".join(b"data: %s\n\n" % document.encode() for document in documents)


SIDES = {
    "chat": Side(
        Vendor("fake"),
        "/chat/completions",
        chat.WIRE.write(ASK, Vendor("bare"), Learned()).body,
        b"",
        sse('{"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"at %f "}}]}'),
        sse('{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}')
        + sse('{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":20}}', "[DONE]"),
    ),
    "anthropic": Side(
        Vendor("fake", wire="anthropic"),
        "/messages",
        anthropic.WIRE.write(ASK, Vendor("bare", wire="anthropic"), Learned()).body,
        sse('{"type":"message_start","message":{"model":"m","usage":{"input_tokens":9}}}')
        + sse('{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}'),
        sse('{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"at %f "}}'),
        sse('{"type":"content_block_stop","index":0}')
        + sse('{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":20}}')
        + sse('{"type":"message_stop"}'),
    ),
}

# The vendor


async def serve(connection: trio.SocketStream) -> None:
    buffer = bytearray()
    async with connection:
        try:
            while request := await next_request(connection, buffer):
                side = SIDES["anthropic" if request.target.endswith("/messages") else "chat"]
                chunks, pace = (ANSWER * PACE, 1 / PACE) if request.target.startswith("/paced") else (CHUNKS, 0.0)
                await connection.send_all(HEAD + (chunked(side.start) if side.start else b""))
                begun = trio.current_time()
                for number in range(1, chunks + 1):
                    if pace:
                        await trio.sleep_until(begun + number * pace)
                    await connection.send_all(chunked(side.piece % time.perf_counter()))
                await connection.send_all(chunked(side.end) + END)
        except trio.BrokenResourceError:
            pass


async def vendor() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    print(f"http://127.0.0.1:{listener.socket.getsockname()[1]}", flush=True)
    await trio.serve_listeners(serve, [listener])


# The two who ask it. A turn says how old each of its chunks was when it came, in seconds.

Turn = Callable[[], Awaitable[list[float]]]


def bare(http: httpx.AsyncClient, url: str, side: Side) -> Turn:
    """The least a turn over httpx can be: send, read every byte, understand nothing."""

    async def turn() -> list[float]:
        ages: list[float] = []
        async with http.stream("POST", url + side.path, content=side.body) as response:
            async for data in response.aiter_raw():
                now = time.perf_counter()
                ages += [now - float(sent) for sent in SENT.findall(data)]
        return ages

    return turn


def through(provider: Provider, ask: ChatRequest) -> Turn:
    async def turn() -> list[float]:
        ages: list[float] = []
        async with provider.stream(ask) as chunks:
            async for chunk in chunks:
                if chunk.content.startswith("at "):
                    ages.append(time.perf_counter() - float(chunk.content[3:]))
        return ages

    return turn


# What is measured


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


async def crowd(turns: list[Turn]) -> tuple[list[float], list[float], float]:
    """Ages of chunks, lags of the loop, and the share of a core, with all of `turns` going on again and again."""
    ages: list[float] = []
    lags: list[float] = []

    async def again(turn: Turn, late: float) -> None:
        await trio.sleep(late)
        while True:
            ages.extend(await turn())

    async def feel() -> None:
        while True:
            due = trio.current_time() + TICK
            await trio.sleep_until(due)
            lags.append(trio.current_time() - due)

    async with trio.open_nursery() as nursery:
        moments = random.Random(5)
        for turn in turns:
            nursery.start_soon(again, turn, moments.uniform(0, ANSWER))
        await trio.sleep(ANSWER + 1)
        ages.clear()
        nursery.start_soon(feel)
        before = time.process_time()
        await trio.sleep(SECONDS)
        core = (time.process_time() - before) / SECONDS
        nursery.cancel_scope.cancel()
    return sorted(ages), sorted(lags), core


def share(values: list[float], part: float) -> float:
    """Milliseconds."""
    if not values:
        return 0.0
    return values[min(len(values) - 1, int(len(values) * part))] * 1000


async def measure(url: str, turns: int) -> None:
    print("µs CPU per turn of 20 chunks")
    print("wire       at once   bare httpx      ours   added   ratio")
    for name, side in SIDES.items():
        ours = open_provider(side.vendor, base_url=url)
        async with httpx.AsyncClient() as http:
            for at_once in (1, 16, 50):
                floor = min([await cost(bare(http, url, side), turns, at_once) for _ in range(3)])
                full = min([await cost(through(ours, ASK), turns, at_once) for _ in range(3)])
                print(f"{name:10} {at_once:7d} {floor:12.0f} {full:9.0f} {full - floor:7.0f} {full / floor:7.2f}")
        await ours.aclose()
    print(f"\nstreams of {PACE} chunks a second: age of a chunk, lag of the loop")
    print("streams  wire       who         chunks   p50 ms   p99 ms   lag p50   lag p99   core   load")
    report(0, "", "nobody", *await crowd([]))
    for streams in (FEW, STREAMS):
        for name, side in SIDES.items():
            there = f"{url}/paced"
            clients = [httpx.AsyncClient() for _ in range(PROVIDERS)]
            turns_bare = [bare(clients[n % PROVIDERS], there, side) for n in range(streams)]
            report(streams, name, "bare httpx", *await crowd(turns_bare))
            providers = [open_provider(side.vendor, base_url=there) for _ in range(PROVIDERS)]
            report(
                streams, name, "ours", *await crowd([through(providers[n % PROVIDERS], ASK) for n in range(streams)])
            )
            for closing in (*clients, *providers):
                await closing.aclose()
    each = min([await cost(through(Offline(), LOAD), turns, 16) for _ in range(3)])
    print(f"\noffline-load: {each:.0f} µs CPU per call of 200 tokens, {1e6 / each:.0f} calls/s on one core")


def report(streams: int, wire: str, who: str, ages: list[float], lags: list[float], core: float) -> None:
    print(
        f"{streams:7d}  {wire:10} {who:10} {len(ages):7d} {share(ages, 0.5):8.2f} {share(ages, 0.99):8.2f}"
        f" {share(lags, 0.5):9.2f} {share(lags, 0.99):9.2f} {core:6.2f}"
        f" {os.getloadavg()[0]:6.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="What our client adds to bare httpx")
    parser.add_argument("--turns", type=int, default=400)
    parser.add_argument("--vendor", action="store_true", help="be the vendor")
    arguments = parser.parse_args()
    if arguments.vendor:
        trio.run(vendor)
        return
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.providers", "--vendor"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        trio.run(measure, process.stdout.readline().strip(), arguments.turns)
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
