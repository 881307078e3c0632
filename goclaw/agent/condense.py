"""A provider's own way to make a conversation shorter: for its own models, or folded into a summary.

Contract: agent-loop.md §13.4.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from goclaw.agent.compaction import INSTRUCTIONS, Row, line_of, whole
from goclaw.agent.shrink import standing_in
from goclaw.domain.chat import ChatMessage, ChatOptions, ChatRequest, Raw
from goclaw.domain.errors import ProviderError
from goclaw.providers.provider import Model

MOST = 2**20  # bytes of what is kept
TOKENS = 8192  # of the summary it is folded into; §13.3 step 4
FOLD = "Summarise the conversation so far as you were told to."


async def condensed(
    rows: Sequence[Row], before: Raw | None, model: Model, named: str, *, session: str
) -> tuple[Raw, str]:
    """What the provider makes of `rows`, and what of it can be read. Raises ProviderError, too, if it cannot.

    `before`: what it made of what was said before them.
    """
    ask = ChatRequest(
        messages=(ChatMessage(role="system", content=INSTRUCTIONS), *_told(rows, before)),
        model=named,
        metadata={"run_kind": "summary", "session": session},
        compact=True,
    )
    said = await whole(model, ask)
    if said.raw is None or len(msgspec.json.encode(said.raw)) > MOST:
        raise ProviderError("format", f"{model.name} gave nothing that can stand for a conversation")
    return said.raw, said.content


async def folded(raw: Raw, model: Model, named: str, *, session: str, most: int) -> str:
    """The same in words that any model understands, `most` characters at most. Raises ProviderError."""
    ask = ChatRequest(
        messages=(
            ChatMessage(role="system", content=INSTRUCTIONS),
            ChatMessage(role="assistant", raw=raw),
            ChatMessage(role="user", content=FOLD),
        ),
        model=named,
        options=ChatOptions(max_tokens=TOKENS),
        metadata={"run_kind": "summary", "session": session},
    )
    text = (await whole(model, ask)).content.strip()
    if not text:
        raise ProviderError("server_error", "the summary was empty")
    return text[:most]


def _told(rows: Sequence[Row], before: Raw | None) -> list[ChatMessage]:
    """Results of tools as text: ids of calls mean nothing any more."""
    earlier = []
    if before is not None:
        earlier = [ChatMessage(role="assistant", content=rows[0].summary or "", raw=before)]
    elif rows[0].summary:
        earlier = [*standing_in(rows[0].summary)]
    said = [ChatMessage(role="assistant" if r.role == "assistant" else "user", content=_text(r)) for r in rows]
    return [*earlier, *(message for message in said if message.content)]


def _text(row: Row) -> str:
    return row.content if row.role == "user" else line_of(row).removeprefix("Assistant: ")
