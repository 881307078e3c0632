"""Token counts as clients read them. Contract: edge-websocket.md §7.2, edge-http.md §2.4."""

from __future__ import annotations

from typing import Any

from goclaw.domain.chat import Usage


def on_socket(usage: Usage, *, offline: bool) -> dict[str, Any]:
    """The `usage` of chat.send and run.completed. An unknown price is null, never 0; the offline model is free."""
    return {
        "inputTokens": usage.prompt_tokens,
        "outputTokens": usage.completion_tokens,
        "totalTokens": usage.total_tokens,
        "cacheReadTokens": usage.cache_read_tokens,
        "cacheWriteTokens": usage.cache_write_tokens,
        "thinkingTokens": usage.thinking_tokens,
        "costUsd": 0 if offline else None,
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
