"""Stored messages as a model may see them: newest first within a budget, calls and results in pairs.

Contract: agent-loop.md §8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar

import msgspec
from msgspec.structs import replace

from goclaw.domain.chat import ChatMessage, Raw, ToolCall
from goclaw.domain.tokens import estimate_prompt

SHARE = 0.6  # of the context window that history may take; the rest is prompt, tools and answer
T = TypeVar("T")
Fault = Literal["orphan_result", "second_result", "empty_answer"]  # why a message is dropped
MISSING = "[Tool result missing — session was compacted]"


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the history, whatever table it came from."""

    role: str
    content: str
    payload: dict[str, Any]


Shorten = Callable[[Sequence[ChatMessage]], Sequence[ChatMessage]]


def chat_messages(rows: Iterable[Remembered], window: int, shorten: Shorten = list) -> list[ChatMessage]:
    """The newest messages that fit into `SHARE` of `window` tokens, valid for every vendor."""
    return fit(shorten(repair([_message(row) for row in rows])), int(window * SHARE))


def fit(messages: Sequence[ChatMessage], budget: int) -> list[ChatMessage]:
    """The longest tail of a repaired list within `budget` tokens. Calls and their results stay or go together.

    The last message is always there, with the call it answers.
    """
    kept: list[ChatMessage] = []
    together: list[ChatMessage] = []
    for message in reversed(messages):
        together.append(message)
        if message.role == "tool":
            continue
        budget -= estimate_prompt(together)
        if budget < 0 and kept:
            break
        kept += together
        together = []
    return kept[::-1]


def repair(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Every call gets exactly one result, right behind it, and every result has its call; ids never repeat.

    The rules of agent-loop.md §8.2: what has no partner is dropped, a missing result says so to the model.
    """
    return _repaired(messages)[0]


def faults(rows: Sequence[Remembered]) -> dict[int, Fault]:
    """Which rows no model will see, by place, and why. An answer that is only files stays in its history."""
    dropped = _repaired([_message(row) for row in rows])[1]
    return {place: fault for place, fault in dropped.items() if not rows[place].payload.get("media")}


def _repaired(messages: Sequence[ChatMessage]) -> tuple[list[ChatMessage], dict[int, Fault]]:
    repaired: list[ChatMessage] = []
    dropped: dict[int, Fault] = {}
    answered: set[str] = set()
    seen = {""}
    open_calls: list[tuple[str, ToolCall]] = []  # the id as stored, and the call under its own id
    for number, message in enumerate(messages):
        if message.role == "tool":
            for place, (stored, call) in enumerate(open_calls):
                if stored == message.tool_call_id:
                    repaired.append(replace(message, tool_call_id=call.id))
                    answered.add(stored)
                    del open_calls[place]
                    break
            else:
                dropped[number] = "second_result" if message.tool_call_id in answered else "orphan_result"
            continue
        repaired.extend(_unanswered(call) for _, call in open_calls)
        answered.clear()
        open_calls = [(call.id, replace(call, id=_unlike(seen, call.id))) for call in message.tool_calls]
        if message.role == "assistant" and not message.content and not open_calls:
            dropped[number] = "empty_answer"
            continue
        repaired.append(replace(message, tool_calls=tuple(call for _, call in open_calls)))
    repaired.extend(_unanswered(call) for _, call in open_calls)
    return repaired, dropped


def _unlike(seen: set[str], id: str) -> str:
    """`id`, renamed if it was there before; it counts as seen from now on."""
    fresh, number = id, 0
    while fresh in seen:
        number += 1
        fresh = f"{id}_dedup_{number}"
    seen.add(fresh)
    return fresh


def _unanswered(call: ToolCall) -> ChatMessage:
    return ChatMessage(role="tool", content=MISSING, tool_call_id=call.id, tool_name=call.name, is_error=True)


def _read(said: Any, kind: Any, otherwise: T) -> T:
    """What a row says; `otherwise` where an import left something else."""
    try:
        read: T = msgspec.convert(said, kind)
    except msgspec.ValidationError:
        return otherwise
    return read


def _message(row: Remembered) -> ChatMessage:
    match row.role:
        case "assistant":
            calls = _read(row.payload.get("tool_calls") or (), tuple[ToolCall, ...], ())
            raw = _read(row.payload.get("raw"), Raw | None, None)
            return ChatMessage(role="assistant", content=row.content, tool_calls=calls, raw=raw)
        case "tool":
            return ChatMessage(
                role="tool",
                content=row.content,
                tool_call_id=str(row.payload.get("tool_call_id", "")),
                tool_name=str(row.payload.get("name", "")),
                is_error=bool(row.payload.get("is_error")),
            )
        case "system":
            return ChatMessage(role="user", content=f"[System] {row.content}")
        case _:
            return ChatMessage(role="user", content=row.content)
