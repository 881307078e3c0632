"""The form of an answer, for a model whose vendor takes none: told in words. Contract: agent-loop.md §16."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from goclaw.domain.chat import ChatMessage, ChatRequest


def in_words(ask: ChatRequest) -> ChatRequest:
    """The same question with its form in the prompt."""
    told = words(ask.options.response_format)
    if not told:
        return ask
    first = ask.messages[0] if ask.messages else None
    if first is not None and first.role == "system":
        return replace(ask, messages=(replace(first, content=f"{first.content}\n\n{told}"), *ask.messages[1:]))
    return replace(ask, messages=(ChatMessage(role="system", content=told), *ask.messages))


def words(form: dict[str, Any] | None) -> str:
    """Empty if any text will do."""
    match form:
        case {"type": "json_object"}:
            return "Answer with nothing but a JSON object."
        case {"type": "json_schema", "json_schema": {"schema": schema}}:
            return f"Answer with nothing but JSON that fits this schema:\n{msgspec.json.encode(schema).decode()}"
    return ""
