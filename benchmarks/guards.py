"""What guarding 1 MiB of hostile text costs, and how long it holds others up: `python -m benchmarks.guards`.

Wall time and the longest pause of the loop, both the best of `ROUNDS`: on a shared machine a pause may be somebody
else's. Targets: 1 s in total (security.md §17 SEC-24), 10 ms of pause; the baseline is the same text read by nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import structlog
import trio

from benchmarks.tree import looked
from goclaw.security.injection import found_in
from goclaw.security.known import Known
from goclaw.security.redact import without_secrets
from goclaw.security.untrusted import neutral

SIZE = 2**20  # characters
ROUNDS = 3
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
    print(f"1 MiB each; ms in total / longest pause\n\n{'':20}" + "".join(f"{name:>20}" for name in guards))
    worst = dict.fromkeys(guards, 0.0)
    for name, piece in FLOODS.items():
        text = (piece * (SIZE // len(piece) + 1))[:SIZE]
        row = ""
        for guard, work in guards.items():
            took, pause = await looked(lambda work=work, text=text: work(text), ROUNDS)  # type: ignore[misc]
            worst[guard] = max(worst[guard], pause)
            row += f"{f'{took:.0f} / {pause:.1f}':>20}"
        print(f"{name:20}{row}", flush=True)
    print(f"{'longest pause':20}" + "".join(f"{pause:>20.1f}" for pause in worst.values()))


if __name__ == "__main__":
    trio.run(main)
