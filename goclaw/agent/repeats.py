"""A model that goes round in circles: told so first, stopped then. Contract: agent-loop.md §10.6."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from goclaw.domain.chat import ChatMessage, ToolCall
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
        self._warned: set[object] = set()

    def saw(self, tool: str, arguments: dict[str, Any], result: str, *, reads: bool) -> tuple[Verdict, str] | None:
        """What is to be done about this call, with the words for the model. Each warning is given once."""
        if tool in NEUTRAL or tool.startswith("mcp_"):
            return None
        seen = Seen(tool, _print(arguments), _print(unreceipted(result)))
        self._calls.append(seen)
        self._reading = self._reading + 1 if reads else 0
        if not reads:
            self._warned.discard("reading")
        same = sum(1 for other in self._calls if other == seen)
        alike = {other.arguments for other in self._calls if (other.tool, other.result) == (tool, seen.result)}
        again = f"You called {tool} {same} times with the same arguments and got the same result"
        everywhere = f"{tool} gave the same result for {len(alike)} different arguments"
        looking = f"{self._reading} calls in a row only looked at things"
        return (
            self._judge(("same", seen), same, SAME, f"{again}; repeating it will not change it")
            or self._judge(("alike", (tool, seen.result)), len(alike), ALIKE, f"{everywhere}; try another way")
            or self._judge("reading", self._reading, READING, f"{looking}; act on what you know, or answer")
        )

    def _judge(self, what: object, count: int, limits: tuple[int, int], text: str) -> tuple[Verdict, str] | None:
        warn, stop = limits
        if count >= stop:
            return "stop", text
        if count >= warn and what not in self._warned:
            self._warned.add(what)
            return "warn", f"{text}."
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
