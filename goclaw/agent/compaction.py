"""A summary in the place of old messages: which ones, and what a model is told to keep. Contract: agent-loop.md §13."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import trio

from goclaw.domain.chat import ChatMessage, ChatOptions, ChatRequest, ChatResponse
from goclaw.domain.errors import ProviderError
from goclaw.domain.hint_texts import hint
from goclaw.domain.tokens import estimate
from goclaw.providers.provider import Model
from goclaw.settings.compaction import Compaction

KEEP = 4  # messages kept as they are, on demand
LEAST = 6  # fewer are not worth a summary, on demand
AT_LEAST = 2  # messages that go
TOOL_CHARS = 1000  # of a tool's result
WITHIN = 120.0  # seconds per model call
TRIES = 3
TEMPERATURE = 0.3
INSTRUCTIONS = (
    "Summarise the conversation below for the assistant who continues it. Keep names, ids, paths, decisions, "
    "open work and the last request of the user. Write plain sentences, no preamble."
)


class Row(Protocol):
    @property
    def role(self) -> str: ...
    @property
    def content(self) -> str: ...
    @property
    def tool_calls(self) -> list[dict[str, Any]] | None: ...
    @property
    def summary(self) -> str | None: ...


R = TypeVar("R", bound=Row)


def head_of(rows: Sequence[R], keep: int) -> Sequence[R]:
    """The rows before the last `keep`; a tool's result stays with the call it answers."""
    cut = max(0, len(rows) - keep)
    while 0 < cut < len(rows) and rows[cut].role == "tool":
        cut -= 1
    return rows[:cut]


def due(settings: Compaction, messages: int, tokens: int, window: int) -> bool:
    """Whether a conversation is long enough to be made shorter by itself (§13.2)."""
    return settings.enabled and (messages > settings.min_messages or tokens > settings.max_history_share * window)


def nearly(settings: Compaction, tokens: int, window: int) -> bool:
    """Whether it will be soon, so that what is worth keeping is written down (§13.3 step 1).

    In a small window, which the reserve fills, that is when it is due.
    """
    flush = settings.memory_flush
    reserve = window - settings.reserve_tokens_floor - flush.soft_threshold_tokens
    return settings.enabled and flush.enabled and tokens >= max(reserve, settings.max_history_share * window)


def older(settings: Compaction, rows: Sequence[R]) -> Sequence[R]:
    """What goes: all but the tail of §13.1. Too little is not worth it."""
    covered = head_of(rows, max(settings.keep_last_messages, math.ceil(settings.keep_share * len(rows))))
    return covered if len(covered) >= AT_LEAST else covered[:0]


def removed(rows: Sequence[Row], locale: str = "en") -> str:
    """What stands in the place of messages that nobody could summarise."""
    return "\n".join([*filter(None, [rows[0].summary]), hint("removed", locale, count=len(rows))])


Ask = Callable[[ChatRequest], Awaitable[str]]
"""Has a model answer, in words. Raises ProviderError."""


async def summarise(
    rows: Sequence[Row],
    ask: Ask,
    model: str,
    *,
    session: str,
    settings: Compaction = Compaction(),  # noqa: B008 - frozen
    children: Sequence[str] = (),
    locale: str = "en",
) -> str:
    """What a model says about `rows`, at most `max_summary_chars` long. Raises ProviderError.

    More than `max_transcript_chars` are folded in several calls. `children` are subagents that are at work.
    """
    so_far = rows[0].summary or ""
    roster = [hint("children", locale), *children] if children else []
    for part in _parts([*(line_of(row) for row in rows), *roster], settings.max_transcript_chars):
        so_far = (await _told(part, so_far, ask, model, session))[: settings.max_summary_chars]
    return so_far


def asking(provider: Model) -> Ask:
    """Asks it and waits for the whole answer, `WITHIN` seconds at most."""
    return partial(_answer, provider)


def line_of(row: Row) -> str:
    """A message, as one who summarises reads it."""
    if row.role == "tool":
        return f"Tool result: {row.content[:TOOL_CHARS]}"
    called = ", ".join(str(call.get("name", "")) for call in row.tool_calls or ())
    return f"{row.role.capitalize()}: {row.content}" + (f" [calls {called}]" if called else "")


def _parts(lines: Sequence[str], most: int) -> list[list[str]]:
    """Lines in groups a model can read at once; a longer line is split, so nothing is left out."""
    pieces = [line[start : start + most] for line in lines for start in range(0, len(line), most)]
    parts: list[list[str]] = [[]]
    room = most
    for piece in pieces:
        if len(piece) > room and parts[-1]:
            parts.append([])
            room = most
        parts[-1].append(piece)
        room -= len(piece)
    return parts


async def _told(lines: Sequence[str], so_far: str, ask: Ask, model: str, session: str) -> str:
    earlier = [f"Summary of what was said before: {so_far}"] if so_far else []
    said = [ChatMessage(role="user", content=text) for text in (*earlier, *lines)]
    tokens = sum(estimate(message.content) for message in said)
    request = ChatRequest(
        messages=(ChatMessage(role="system", content=INSTRUCTIONS), *said),
        model=model,
        options=ChatOptions(max_tokens=min(8192, max(1024, tokens // 25)), temperature=TEMPERATURE),
        metadata={"run_kind": "summary", "session": session},
    )
    for attempt in range(1, TRIES + 1):
        try:
            if text := await ask(request):
                return text
            trouble = ProviderError("server_error", "the summary was empty")
        except ProviderError as error:
            trouble = error
        if attempt == TRIES or not trouble.retryable:
            raise trouble
    raise AssertionError("unreachable")


async def _answer(provider: Model, ask: ChatRequest) -> str:
    return (await whole(provider, ask)).content.strip()


async def whole(provider: Model, ask: ChatRequest) -> ChatResponse:
    """An answer that nobody reads while it comes, within `WITHIN` seconds. Raises ProviderError."""
    with trio.move_on_after(WITHIN):
        async with provider.stream(ask) as chunks:
            async for chunk in chunks:
                if chunk.done is not None:
                    return chunk.done
        raise ProviderError("server_error", f"{provider.name} ended its summary without an end")
    raise ProviderError("timeout", f"{provider.name} did not summarise within {WITHIN:g} s")
