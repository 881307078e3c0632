"""The offline model where there is no network at all. Contract: providers.md §16.1 O1, PR-36."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys

def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.bind"):
        raise SystemExit(f"{event} {arguments[1:]}")

sys.addaudithook(watch)

import trio
from goclaw.domain.chat import ChatMessage, ChatRequest
from goclaw.providers.catalogue import BY_NAME
from goclaw.providers.provider import open_provider

async def main():
    model = open_provider(BY_NAME["offline"])
    ask = ChatRequest(messages=(ChatMessage(role="user", content="calculate 6 * 7"),), model="offline-1")
    async with model.stream(ask) as chunks:
        print("".join([chunk.content async for chunk in chunks]))
    print(await model.models())

trio.run(main)
"""
ALONE = ["unshare", "--map-root-user", "--net"]  # a network namespace with nothing in it, not even an address


def test_the_offline_model_connects_to_nothing() -> None:
    """PR-36."""
    may = subprocess.run([*ALONE, "true"], capture_output=True, timeout=30).returncode == 0
    done = subprocess.run(
        [*(ALONE if may else []), sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 0, done.stderr
    assert "42" in done.stdout
    assert "offline-1" in done.stdout


def test_the_watch_sees_who_connects() -> None:
    """Or the test above could not fail."""
    script = SCRIPT.replace("trio.run(main)", "trio.run(trio.open_tcp_stream, '127.0.0.1', 1)")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)

    assert done.returncode == 1
    assert "socket." in done.stderr
