"""How many tokens a text will cost, guessed without a tokenizer. Contract: agent-loop.md §8.5."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from goclaw.domain.chat import ChatMessage, ToolSpec

CHARS = 4  # per token, in scripts that spell; rounded up
MESSAGE = 4  # tokens a message costs beyond its text: role and separators
IDEOGRAMS = re.compile(
    r"[\u1100-\u11ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]+"
)


def estimate(text: str) -> int:
    """Tokens of `text`: a quarter per character, one per Chinese, Japanese or Korean character."""
    if text.isascii():
        return -(-len(text) // CHARS)
    spelled = len(IDEOGRAMS.sub("", text))
    return len(text) - spelled - (-spelled // CHARS)


def estimate_prompt(messages: Iterable[ChatMessage], tools: Iterable[ToolSpec] = ()) -> int:
    """Tokens of a whole request: its messages, the calls in them, and the tools it offers."""
    total = 0
    for message in messages:
        total += MESSAGE + estimate(message.content) + estimate(message.thinking)
        for call in message.tool_calls:
            total += estimate(call.name) + _octets(call.arguments)
    for tool in tools:
        total += estimate(tool.name) + estimate(tool.description) + _octets(tool.parameters)
    return total


def _octets(value: object) -> int:
    return -(-len(msgspec.json.encode(value)) // CHARS)
