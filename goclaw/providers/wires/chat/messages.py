"""A conversation as the dialects of OpenAI chat completions want it. Contract: providers.md §5.1, §6, §10.3."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from goclaw.domain.chat import ChatMessage, ToolCall
from goclaw.providers.catalogue import Vendor
from goclaw.providers.prompt_cache import CACHE_BOUNDARY

ID_LIMIT = 40  # characters of a call id
ECHOES_REASONING = re.compile(r"deepseek|kimi.*think", re.IGNORECASE)
SIGNS = re.compile(r"gemini-(?:[3-9]|\d\d)")  # refuses calls without the signature it gave them
DONE = "(done)"  # somebody must speak between a tool and the user


def messages_of(messages: Sequence[ChatMessage], vendor: Vendor, model: str, *, system: str) -> list[dict[str, Any]]:
    """`system`: what the role of the prompt is called."""
    spoken: Iterable[ChatMessage] = messages
    if SIGNS.match(model):
        spoken = _folded(spoken)
    if "alternates" in vendor.quirks:
        spoken = _alternating(spoken)
    kept = list(spoken)
    while "user_speaks_last" in vendor.quirks and kept and kept[-1].role == "assistant":
        kept.pop()
    echo = bool(ECHOES_REASONING.search(model))
    return [_message(message, vendor, system, echo) for message in kept]


def _message(message: ChatMessage, vendor: Vendor, system: str, echo: bool) -> dict[str, Any]:
    match message.role:
        case "system":
            return {"role": system, "content": message.content.replace(CACHE_BOUNDARY, "")}
        case "user":
            return {"role": "user", "content": _seen(message) if message.images else message.content}
        case "tool":
            answer = {"role": "tool", "tool_call_id": call_id(message.tool_call_id, vendor), "content": message.content}
            return answer | {"name": message.tool_name} if "names_tool_results" in vendor.quirks else answer
    out: dict[str, Any] = {"role": "assistant"}
    if message.content or not message.tool_calls:
        out["content"] = message.content
    if echo:
        out["reasoning_content"] = message.thinking
    if message.tool_calls:
        out["tool_calls"] = [_call(call, vendor) for call in message.tool_calls]
    return out


def _seen(message: ChatMessage) -> list[dict[str, Any]]:
    """Text first, then pictures."""
    pictures = (
        {"type": "image_url", "image_url": {"url": f"data:{image.media_type};base64,{image.data}"}}
        for image in message.images
    )
    return [{"type": "text", "text": message.content}, *pictures]


def _call(call: ToolCall, vendor: Vendor) -> dict[str, Any]:
    function = {"name": call.name, "arguments": msgspec.json.encode(call.arguments).decode()}
    spoken: dict[str, Any] = {"id": call_id(call.id, vendor), "type": "function", "function": function}
    if isinstance(call.signature, str) and vendor.name == "gemini":
        spoken["extra_content"] = {"google": {"thought_signature": call.signature}}
    return spoken


def _folded(messages: Iterable[ChatMessage]) -> Iterator[ChatMessage]:
    """Calls that another model made, as text: what they gave is one message of the user's."""
    results: list[str] = []
    folding = False
    for message in messages:
        if message.role == "tool" and folding:
            results.append(f"{message.tool_name}: {message.content}")
            continue
        if results:
            yield ChatMessage(role="user", content="Results of tools:\n" + "\n".join(results))
            results = []
        folding = bool(message.tool_calls) and not any(isinstance(call.signature, str) for call in message.tool_calls)
        if not folding:
            yield message
        elif message.content:
            yield ChatMessage(role="assistant", content=message.content)
    if results:
        yield ChatMessage(role="user", content="Results of tools:\n" + "\n".join(results))


def _alternating(messages: Iterable[ChatMessage]) -> Iterator[ChatMessage]:
    """Neighbours of one role become one, and nobody but the assistant follows a tool."""
    held: ChatMessage | None = None
    for message in messages:
        if held is not None and held.role == message.role and message.role in ("system", "user"):
            text = f"{held.content}\n\n{message.content}"
            held = replace(held, content=text, images=(*held.images, *message.images))
            continue
        if held is not None and held.role == message.role == "assistant" and not held.tool_calls:
            held = replace(message, content="\n\n".join(filter(None, [held.content, message.content])))
            continue
        if held is not None:
            yield held
            if held.role == "tool" and message.role == "user":
                yield ChatMessage(role="assistant", content=DONE)
        held = message
    if held is not None:
        yield held


def call_id(id: str, vendor: Vendor) -> str:
    """`id` as this vendor accepts it. The same id always becomes the same one, so calls and results still meet."""
    if "nine_character_ids" in vendor.quirks:
        fits = len(id) == 9 and id.isascii() and id.isalnum()
        return id if fits else hashlib.sha256(id.encode()).hexdigest()[:9]
    return id if len(id) <= ID_LIMIT else hashlib.sha256(id.encode()).hexdigest()[:ID_LIMIT]
