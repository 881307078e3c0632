"""A model that goes round in circles: told so first, stopped then. Contract: agent-loop.md §10.6."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from goclaw.domain.chat import ChatMessage, ToolCall
from goclaw.domain.hint_texts import hint
from goclaw.security.receipts import unreceipted

WINDOW = 30  # calls looked back at
NEUTRAL = frozenset({"exec", "bash", "Bash", "process", "wait"})  # neither count nor reset
SAME = (3, 5)  # the same tool, arguments and result: told, stopped
ALIKE = (4, 6)  # the same tool and result, whatever the arguments
READING = (20, 30)  # calls in a row that change nothing

Verdict = Literal["warn", "stop"]


class Seen(NamedTuple):
    tool: str
    arguments: bytes
    result: bytes


class Repeats:
    """Watches the calls of one run."""

    def __init__(self) -> None:
        self._calls: deque[Seen] = deque(maxlen=WINDOW)
        self._reading = 0
        self._warned: set[tuple[str, object]] = set()
        self.locale = "en"  # of what it says

    def saw(self, tool: str, arguments: dict[str, Any], result: str, *, reads: bool) -> tuple[Verdict, str] | None:
        """What is to be done about this call, with the words for the model. Each warning is given once."""
        if tool in NEUTRAL or tool.startswith("mcp_"):
            return None
        seen = Seen(tool, _print(arguments), _print(unreceipted(result)))
        self._calls.append(seen)
        self._reading = self._reading + 1 if reads else 0
        if not reads:
            self._warned = {known for known in self._warned if known[0] != "reading"}
        same = sum(1 for other in self._calls if other == seen)
        alike = {other.arguments for other in self._calls if (other.tool, other.result) == (tool, seen.result)}
        return (
            self._judge("same", tool, seen, same, SAME)
            or self._judge("alike", tool, (tool, seen.result), len(alike), ALIKE)
            or self._judge("reading", tool, None, self._reading, READING)
        )

    def _judge(
        self, what: str, tool: str, of: object, count: int, limits: tuple[int, int]
    ) -> tuple[Verdict, str] | None:
        warn, stop = limits
        if count >= stop:
            return "stop", hint(what, self.locale, tool=tool, count=count)
        if count >= warn and (what, of) not in self._warned:
            self._warned.add((what, of))
            return "warn", hint(what, self.locale, tool=tool, count=count) + "."
        return None

    def recall(self, messages: Sequence[ChatMessage], reads: Callable[[ToolCall], bool]) -> None:
        """What former lives of the run called, by `reads(call)`."""
        open_calls = {call.id: call for message in messages for call in message.tool_calls}
        for message in messages:
            call = open_calls.get(message.tool_call_id) if message.role == "tool" else None
            if call is not None:
                self.saw(call.name, call.arguments, message.content, reads=reads(call))


def _print(value: object) -> bytes:
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).digest()[:16]
