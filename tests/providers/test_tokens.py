"""Guessing tokens. Contract: agent-loop.md §8.5."""

from __future__ import annotations

import pytest

from goclaw.domain.chat import ChatMessage, ToolCall, ToolSpec
from goclaw.domain.tokens import estimate, estimate_prompt


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("four", 1), ("fives", 2), ("你好", 2), ("你好 abcd", 4), ("xin chào bạn", 3), ("한국어", 3)],
)
def test_a_text_costs_a_quarter_per_letter_and_one_per_ideogram(text, tokens):
    assert estimate(text) == tokens


def test_a_prompt_costs_its_messages_calls_and_tools():
    user = ChatMessage(role="user", content="12345678")
    call = ChatMessage(role="assistant", tool_calls=(ToolCall(id="1", name="now1", arguments={"a": 1}),))
    tool = ToolSpec(name="now1", description="12345678", parameters={"a": 1})

    assert estimate_prompt([user]) == 4 + 2
    assert estimate_prompt([user, call]) == (4 + 2) + (4 + 1 + 2)
    assert estimate_prompt([user], [tool]) == (4 + 2) + (1 + 2 + 2)
