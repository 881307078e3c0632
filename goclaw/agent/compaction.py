"""A summary in the place of old messages: which ones, and what a model is told to keep. Contract: agent-loop.md §13."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import trio

from goclaw.domain.chat import ChatMessage, ChatOptions, ChatRequest
from goclaw.domain.errors import ProviderError
from goclaw.domain.tokens import estimate
from goclaw.providers.provider import Model

KEEP = 4  # messages kept as they are, on demand
LEAST = 6  # fewer are not worth a summary
SUMMARY_CHARS = 6000
TRANSCRIPT_CHARS = 20_000  # per model call; longer ones are folded in several
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


Ask = Callable[[ChatRequest], Awaitable[str]]
"""Has a model answer, in words. Raises ProviderError."""


async def summarise(rows: Sequence[Row], ask: Ask, model: str, *, session: str) -> str:
    """What a model says about `rows`, at most `SUMMARY_CHARS` long. Raises ProviderError."""
    so_far = rows[0].summary or ""
    for part in _parts([_line(row) for row in rows]):
        so_far = await _told(part, so_far, ask, model, session)
    return so_far


def asking(provider: Model) -> Ask:
    """Asks it and waits for the whole answer, `WITHIN` seconds at most."""
    return partial(_answer, provider)


def _line(row: Row) -> str:
    if row.role == "tool":
        return f"Tool result: {row.content[:TOOL_CHARS]}"
    called = ", ".join(str(call.get("name", "")) for call in row.tool_calls or ())
    return f"{row.role.capitalize()}: {row.content}" + (f" [calls {called}]" if called else "")


def _parts(lines: Sequence[str]) -> list[list[str]]:
    """Lines in groups a model can read at once; a longer line is split, so nothing is left out."""
    pieces = [
        line[start : start + TRANSCRIPT_CHARS] for line in lines for start in range(0, len(line), TRANSCRIPT_CHARS)
    ]
    parts: list[list[str]] = [[]]
    room = TRANSCRIPT_CHARS
    for piece in pieces:
        if len(piece) > room and parts[-1]:
            parts.append([])
            room = TRANSCRIPT_CHARS
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
                return text[:SUMMARY_CHARS]
            trouble = ProviderError("server_error", "the summary was empty")
        except ProviderError as error:
            trouble = error
        if attempt == TRIES or not trouble.retryable:
            raise trouble
    raise AssertionError("unreachable")


async def _answer(provider: Model, ask: ChatRequest) -> str:
    with trio.move_on_after(WITHIN):
        async with provider.stream(ask) as chunks:
            async for chunk in chunks:
                if chunk.done is not None:
                    return chunk.done.content.strip()
        raise ProviderError("server_error", f"{provider.name} ended its summary without an end")
    raise ProviderError("timeout", f"{provider.name} did not summarise within {WITHIN:g} s")
