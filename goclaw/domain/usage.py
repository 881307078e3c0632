"""Token counts as clients read them. Contract: edge-websocket.md §7.2, edge-http.md §2.4."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from goclaw.domain.chat import Usage


def on_socket(usage: Usage, *, cost: Decimal | None) -> dict[str, Any]:
    """The `usage` of chat.send and run.completed. `cost` in USD; an unknown price is null, never 0."""
    return {
        "inputTokens": usage.prompt_tokens,
        "outputTokens": usage.completion_tokens,
        "totalTokens": usage.total_tokens,
        "cacheReadTokens": usage.cache_read_tokens,
        "cacheWriteTokens": usage.cache_write_tokens,
        "thinkingTokens": usage.thinking_tokens,
        "costUsd": None if cost is None else float(cost),
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def in_openai_shape(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.thinking_tokens},
    }
