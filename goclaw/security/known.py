"""The secrets this gateway knows by heart: who holds them, how long, and in which disguises they are found.

Contract: security.md §6.2 step 1, §8.3. A value counts as long as somebody holds it and for `FADING` after that.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import time
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from urllib.parse import quote, unquote

from goclaw.security.shapes import REDACTED, SHAPES, Mark

SHORTEST = 6  # characters of a value that is looked for
ENCODED = 16  # characters from which on its disguises are looked for, too
FADING = 600.0  # seconds a value counts after nobody holds it
FADED = 4096  # values at a time that nobody holds; the oldest give way
FEW = 200  # disguises that are looked for one by one
ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))")
SHORT = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f"}  # escapes of JSON
LONG = {letter: char for char, letter in SHORT.items()}
OURS = f"{REDACTED} [redacted:secret] {' '.join(SHAPES)}"  # words of our own marks are no secrets
LAYERS = 3  # of JSON in JSON
SERVER = "[SERVER_IP]"


def _longest_first(text: str) -> tuple[int, str]:
    return -len(text), text


class Forms:
    """What is looked for, at one moment: never changes, so any thread may use it. Longest first."""

    def __init__(self, values: Collection[str] = (), addresses: Collection[str] = ()) -> None:
        lines = {line.strip() for value in values for line in value.splitlines()[:200] if "\n" in value}
        lines = {line for line in lines if len(line) >= ENCODED}  # a text of many lines is found line by line
        found = {value for value in values if len(value) >= SHORTEST} | lines
        self.values = sorted((value for value in found if value not in OURS), key=_longest_first)
        self.literals = sorted({form for value in self.values for form in _disguises(value)}, key=_longest_first)
        self.addresses = [re.compile(rf"(?<![\w.:]){re.escape(each)}(?!\w|\.\d)") for each in sorted(addresses)]

    @cached_property
    def _in_order(self) -> list[str]:
        return sorted(self.literals)

    @cached_property
    def _beginnings(self) -> frozenset[str]:
        return frozenset(form[:SHORTEST] for form in self.literals)

    def begun(self, text: str) -> int:
        """Where in `text` a value may have begun that goes on after its end; its length if nowhere."""
        longest = len(self.literals[0]) if self.literals else 0
        for at in range(max(0, len(text) - longest + 1), len(text)):
            if len(text) - at >= SHORTEST and text[at : at + SHORTEST] not in self._beginnings:
                continue
            tail = text[at:]
            near = bisect_left(self._in_order, tail)
            if near < len(self._in_order) and self._in_order[near].startswith(tail):
                return at
        return len(text)

    def hide(self, text: str, mark: Mark) -> str:
        """`text` with every value replaced, however it is spelled."""
        for form in self._there(text):
            text = text.replace(form, mark("secret"))
        if "%" in text or "\\" in text:
            bare = "\0".join(readings(text))
            plus = bare.replace("+", " ") if "+" in bare else ""  # as forms write a blank
            for value in self.values:
                if len(value) >= ENCODED and (value in bare or value.replace("+", " ") in plus):
                    text = _loosely(value).sub(lambda _: mark("secret"), text)
        return text

    def hide_addresses(self, text: str) -> str:
        """For what models and users see (§6.2): where the gateway itself can be reached."""
        for address in self.addresses:
            text = address.sub(SERVER, text)
        return text

    def _there(self, text: str) -> list[str]:
        if len(self.literals) <= FEW:
            return [form for form in self.literals if form in text]
        grams = {text[at : at + SHORTEST] for at in range(len(text) - SHORTEST + 1)}
        near = grams & self._beginnings
        return [form for form in self.literals if form[:SHORTEST] in near and form in text] if near else []


NOTHING = Forms()


class Known:
    """Who holds which values. `now` is in seconds and only goes on."""

    def __init__(self, values: Iterable[str] = (), *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._held: dict[str, frozenset[str]] = {}
        self._fading: dict[str, float] = {}  # value → until when it counts, in that order
        self._addresses: frozenset[str] = frozenset()
        self._forms = NOTHING
        self._calls = itertools.count()
        self.hold("", values)

    @property
    def forms(self) -> Forms:
        """What counts now."""
        now = self._now()
        over = [value for value, until in self._fading.items() if until <= now]
        for value in over:
            del self._fading[value]
        if over:
            self._make()
        return self._forms

    def hold(self, owner: str, values: Iterable[str]) -> None:
        """All that `owner` has from now on. What it had and has no more counts for ten minutes."""
        fresh = frozenset(value for value in values if len(value) >= SHORTEST)
        before = self._held.pop(owner, frozenset())
        if fresh:
            self._held[owner] = fresh
        if fresh == before:
            return
        for value in sorted(before - fresh):
            self._fading.pop(value, None)
            self._fading[value] = self._now() + FADING
        while len(self._fading) > FADED:
            del self._fading[next(iter(self._fading))]
        self._make()

    def drop(self, owner: str) -> None:
        self.hold(owner, ())

    @contextmanager
    def lent(self, values: Iterable[str]) -> Iterator[None]:
        """For the time of one call, and ten minutes."""
        owner = f"call {next(self._calls)}"
        self.hold(owner, values)
        try:
            yield
        finally:
            self.drop(owner)

    def reached_at(self, addresses: Iterable[str]) -> None:
        """The gateway's own public addresses."""
        self._addresses = frozenset(addresses)
        self._make()

    def _make(self) -> None:
        self._forms = Forms(frozenset(self._fading).union(*self._held.values()), self._addresses)


def readings(text: str) -> list[str]:
    """`text` with the escapes of JSON read, also those of JSON in JSON, and with percent signs read."""
    found = [text]
    while len(found) <= LAYERS and "\\" in found[-1]:
        found.append(ESCAPE.sub(lambda it: chr(int(it[1], 16)) if it[1] else LONG.get(it[2], it[2]), found[-1]))
    return [*found[1:], *(unquote(each) for each in found if "%" in each)]


def _disguises(value: str) -> Iterator[str]:
    yield value
    if len(value) < ENCODED:
        return
    raw = value.encode("utf-8", "surrogatepass")
    yield raw.hex()
    yield raw.hex().upper()
    for shift in range(3):
        inner = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        begin = -(-shift * 8 // 6)  # what is mixed with the bytes before …
        end = (shift + len(raw)) * 8 // 6  # … and after it may be anything
        yield inner[begin:end]
        yield inner[begin:end].replace("+", "-").replace("/", "_")
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield quote(value, safe="", errors="surrogatepass")


def _loosely(value: str) -> re.Pattern[str]:
    """`value` with any of its characters written as a percent sign or an escape of JSON would have it."""
    return re.compile("".join(map(_any_spelling, value)), re.DOTALL)


def _any_spelling(char: str) -> str:
    percent = "".join(f"%(?i:{byte:02x})" for byte in char.encode("utf-8", "surrogatepass"))
    ways = [
        re.escape(char),
        percent,
        rf"\\{{1,7}}u(?i:{ord(char) & 0xFFFF:04x})",
        rf"\\{{1,7}}{re.escape(SHORT.get(char, char))}",
        *(("\\+",) if char == " " else ()),
    ]
    return f"(?:{'|'.join(ways)})"
