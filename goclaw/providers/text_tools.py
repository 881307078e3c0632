"""Tools for a model that knows none: told in words, called in words. Contract: providers.md §6 (Perplexity, Ollama).

Its answer is read by `written_calls.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec.structs import replace

from goclaw.domain.chat import ChatMessage, ChatRequest, ToolSpec

HOW = """You can use these tools. To call one, write nothing but a block of this form, then wait for its result:

<tool_call>{"name": "the tool", "arguments": {}}</tool_call>
"""


def in_words(ask: ChatRequest) -> ChatRequest:
    """The same question without `tools`, calls and results."""
    if not ask.tools and not any(message.tool_calls for message in ask.messages):
        return ask
    messages = tuple(_merged(_said(message) for message in ask.messages))
    if ask.tools:
        told = ChatMessage(role="system", content=_told(ask.tools))
        first = messages[0] if messages else None
        if first is not None and first.role == "system":
            messages = (replace(first, content=f"{first.content}\n\n{told.content}"), *messages[1:])
        else:
            messages = (told, *messages)
    return replace(ask, messages=messages, tools=())


def _told(tools: Iterable[ToolSpec]) -> str:
    lines = (
        encoded({"name": tool.name, "description": tool.description, "parameters": tool.parameters}) for tool in tools
    )
    return HOW + "\n" + "\n".join(lines)


def _said(message: ChatMessage) -> ChatMessage:
    if message.role == "tool":
        result = encoded({"name": message.tool_name, "result": message.content})
        return ChatMessage(role="user", content=f"<tool_result>{result}</tool_result>")
    if not message.tool_calls:
        return message
    calls = (
        f"<tool_call>{encoded({'name': call.name, 'arguments': call.arguments})}</tool_call>"
        for call in message.tool_calls
    )
    return ChatMessage(role="assistant", content="\n".join(filter(None, [message.content, *calls])))


def _merged(messages: Iterable[ChatMessage]) -> Iterator[ChatMessage]:
    """Results that follow each other are one message."""
    held: ChatMessage | None = None
    for message in messages:
        if held is not None and held.role == message.role == "user" and message.content.startswith("<tool_result>"):
            held = replace(held, content=f"{held.content}\n{message.content}")
            continue
        if held is not None:
            yield held
        held = message
    if held is not None:
        yield held


def encoded(value: Any) -> str:
    return msgspec.json.encode(value).decode()
