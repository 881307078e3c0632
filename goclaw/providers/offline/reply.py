"""What an offline rule answers, before it is streamed."""

from __future__ import annotations

from msgspec import Struct

from goclaw.domain.chat import FinishReason, ToolCall, Usage
from goclaw.domain.errors import ProviderError


class Pace(Struct, frozen=True, kw_only=True):
    """How a reply is streamed; providers.md §16.6."""

    chunk_chars: int = 24
    first_delay: float = 0.0  # seconds
    chunk_delay: float = 0.0  # seconds
    tokens_per_second: float = 0.0  # 0 = as fast as it is read
    fail_after: int | None = None  # chunks, then `Reply.error` is raised


class Reply(Struct, frozen=True, kw_only=True):
    rule: str  # which rule answered; shown in spans
    text: str = ""
    thinking: str = ""
    calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason | None = None  # None = what the calls say
    usage: Usage | None = None  # None = estimated
    error: ProviderError | None = None
    pace: Pace | None = None  # None = the provider's
    spoken: bool = True  # a person reads it, so the first one says that no model is connected
