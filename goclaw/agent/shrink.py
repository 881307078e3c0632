"""A conversation made smaller while it goes on: its older part as a summary, then old results gone.

Contract: agent-loop.md §9.1 step 5, §13.5. The summary lives as long as the run; what is stored stays whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from goclaw.domain.chat import ChatMessage
from goclaw.domain.hint_texts import hint
from goclaw.settings.pruning import HardClear, Pruning

FULL = 0.75  # of the window, when a conversation is made smaller before it is too long
OLDER = 0.7  # of its messages are summarised
SUMMARY = "[Previous conversation summary]\n{summary}"
HARD = Pruning(
    keep_last_assistants=1,
    soft_trim_ratio=0.0,
    hard_clear_ratio=0.0,
    min_prunable_tool_chars=0,
    hard_clear=HardClear(),
)


class Line(Struct, frozen=True, kw_only=True):
    """A message, as one who summarises reads it."""

    role: str
    content: str
    tool_calls: list[dict[str, Any]] | None = None
    summary: str | None = None

    @classmethod
    def of(cls, message: ChatMessage) -> Line:
        calls = [{"name": call.name} for call in message.tool_calls]
        return cls(role=message.role, content=message.content, tool_calls=calls or None)


def before(messages: Sequence[ChatMessage]) -> int:
    """How many of the first messages may go together: no call is parted from its results, the last turn stays."""
    cut = min(int(len(messages) * OLDER), _last_turn(messages))
    while cut and messages[cut].role == "tool":
        cut -= 1
    return cut


def _last_turn(messages: Sequence[ChatMessage]) -> int:
    """Where the model was last left to itself: at its last call, or at what a user said last."""
    return next((n for n in range(len(messages) - 1, -1, -1) if messages[n].role != "tool"), 0)


def standing_in(summary: str, locale: str = "en") -> tuple[ChatMessage, ChatMessage]:
    """What a model reads instead of what was summarised (§8.3)."""
    return (
        ChatMessage(role="user", content=SUMMARY.format(summary=summary)),
        ChatMessage(role="assistant", content=hint("summarised", locale)),
    )
