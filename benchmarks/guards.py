"""What guarding 1 MiB of hostile text costs, and how long it holds others up: `python -m benchmarks.guards`.

Milliseconds of processor, the best of `ROUNDS`: in total, and the longest time between two turns of the loop. Wall time
on a shared machine would be somebody else's. Targets: 1 s in total (security.md §17 SEC-24), 10 ms without a turn; the
baseline is the same text read by nobody.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable

import structlog
import trio

from goclaw.security.injection import found_in
from goclaw.security.known import Known
from goclaw.security.redact import without_secrets
from goclaw.security.untrusted import neutral

SIZE = 2**20  # characters
ROUNDS = 2
VALUES = 1000  # registered
FLOODS = {
    "plain prose": "The quick brown fox jumps over the lazy dog, and the previous rules of chess were different.\n",
    "one line of JSON": '{"id": 12345, "name": "a-b_c", "token": "abcdefgh12345", "url": "https://u:p@h/"}, ',
    "KEYKEY…": "KEY",
    "KEY_KEY_…": "KEY_",
    "blanks": " ",
    "newlines": "\n",
    "#": "#",
    "<": "<",
    "&lt;": "&lt;",
    "hex": "0123456789abcdef",
    "63 hex": "0" * 63 + " ",
    "sk-": "sk-",
    "eyJ.": "eyJabcdefgh.",
    "a:b@": "http://a:b",
    "token= ": "token=       ",
    "Bearer ": "Bearer ",
    "authorization: ": "authorization:        bearer ",
    "-----BEGIN": "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN A…": "-----BEGIN AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA ",
    "digits:": "123456789:",
    "% escapes": "%41",
    "\\u escapes": "\\u0041",
    "ignore ": "ignore ",
    "ignore and blanks": "ignore" + " " * 20,
    "ignore previous…": "ignore all of the " + "previous " * 4,
    "you are now": "you are ",
    "pretend": "pretend that ",
    "system:": "system ",
    "end of the": "end of the ",
    "external": "external",
    "markers": "<<<EXTERNAL_UNTRUSTED_CONTENT>>> ",
    "hidden letters": "i\u200bg\u200bn\u200bo\u200br\u200be\u200b ",
    "one sign of 18": "\ufdfa",
    "Cyrillic": "\u0456gn\u043ere ",
}


class Turns:
    """How long the loop gave nobody a turn."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        before = time.thread_time()
        while True:
            await trio.lowlevel.checkpoint()
            now = time.thread_time()
            self.longest = max(self.longest, now - before)
            before = now


async def looked(work: Callable[[str], Awaitable[object]], text: str) -> tuple[float, float]:
    """In total, and the longest time without a turn."""
    totals, longest = [], []
    for _ in range(ROUNDS):
        turns = Turns()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(turns.watch)
            await trio.lowlevel.checkpoint()
            began, turns.longest = time.thread_time(), 0.0
            await work(text)
            totals.append(time.thread_time() - began)
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        longest.append(turns.longest)
    return min(totals) * 1000, min(longest) * 1000


async def nothing(text: str) -> object:
    await trio.lowlevel.checkpoint()
    return text


async def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    known = Known(f"Value-of-number-{number:06}-{number * 7919:x}" for number in range(VALUES)).forms
    few = Known(f"Value-of-number-{number:06}-{number * 7919:x}" for number in range(12)).forms
    guards: dict[str, Callable[[str], Awaitable[object]]] = {
        "baseline": nothing,
        "scrub, 12 values": lambda text: without_secrets(text, few),
        f"scrub, {VALUES}": lambda text: without_secrets(text, known),
        "injection": found_in,
        "neutralise": neutral,
    }
    print(f"1 MiB each; ms in total / without a turn\n\n{'':20}" + "".join(f"{name:>20}" for name in guards))
    worst = dict.fromkeys(guards, 0.0)
    for name, piece in FLOODS.items():
        text = (piece * (SIZE // len(piece) + 1))[:SIZE]
        row = ""
        for guard, work in guards.items():
            took, pause = await looked(work, text)
            worst[guard] = max(worst[guard], pause)
            row += f"{f'{took:.0f} / {pause:.1f}':>20}"
        print(f"{name:20}{row}", flush=True)
    print(f"{'longest of all':20}" + "".join(f"{pause:>20.1f}" for pause in worst.values()))


if __name__ == "__main__":
    trio.run(main)
