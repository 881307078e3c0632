"""Token counts as clients read them. Contract: edge-websocket.md §7.2, edge-http.md §2.4."""

from __future__ import annotations

from decimal import Decimal

from goclaw.domain.chat import Usage
from goclaw.domain.usage import in_openai_shape, on_socket

USAGE = Usage(prompt_tokens=812, completion_tokens=21, cache_read_tokens=640, cache_write_tokens=5, thinking_tokens=3)


def test_a_socket_shows_both_spellings() -> None:
    assert on_socket(USAGE, cost=None) == {
        "inputTokens": 812,
        "outputTokens": 21,
        "totalTokens": 833,
        "cacheReadTokens": 640,
        "cacheWriteTokens": 5,
        "thinkingTokens": 3,
        "costUsd": None,
        "prompt_tokens": 812,
        "completion_tokens": 21,
        "total_tokens": 833,
    }


def test_what_is_free_costs_0_and_what_nobody_knows_costs_null() -> None:
    costs = [on_socket(USAGE, cost=cost)["costUsd"] for cost in (Decimal(0), Decimal("0.00001250"), None)]

    assert costs == [0, 0.0000125, None]


def test_openai_clients_read_openai_names() -> None:
    assert in_openai_shape(USAGE) == {
        "prompt_tokens": 812,
        "completion_tokens": 21,
        "total_tokens": 833,
        "prompt_tokens_details": {"cached_tokens": 640},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
