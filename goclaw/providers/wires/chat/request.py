"""OpenAI chat completions, the asking half: a `ChatRequest` as a JSON body. Contract: providers.md §5.1."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec

from goclaw.domain.chat import ChatMessage, ChatRequest, ToolSpec
from goclaw.providers.catalogue import Vendor
from goclaw.providers.prompt_cache import CACHE_BOUNDARY
from goclaw.providers.wire import Call, Learned

ID_LIMIT = 40  # characters of a call id
THINKS = re.compile(r"gpt-5|o[134](?:-|$)")  # length is `max_completion_tokens`, the system is a developer
FIXED_TEMPERATURE = re.compile(r"gpt-5-(?:mini|nano)|o[134](?:-|$)|deepseek-reasoner")
ECHOES_REASONING = re.compile(r"deepseek|kimi.*think", re.IGNORECASE)


def write(ask: ChatRequest, vendor: Vendor, learned: Learned) -> Call:
    model = model_of(ask, vendor)
    bare = model.rpartition("/")[2]
    tools = [] if "no_tools" in vendor.quirks else [_tool(tool) for tool in ask.tools]
    options = ask.options
    body: dict[str, Any] = {
        "model": model,
        "messages": _messages(ask, vendor, bare),
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_completion_tokens" if THINKS.match(bare) else "max_tokens": options.max_tokens,
        "temperature": None if FIXED_TEMPERATURE.match(bare) else options.temperature,
        "top_p": options.top_p,
        "stop": list(options.stop) or None,
        "seed": options.seed,
        "presence_penalty": options.presence_penalty,
        "frequency_penalty": options.frequency_penalty,
        "reasoning_effort": options.reasoning_effort,
        "response_format": options.response_format,
        "tools": tools or None,
        "tool_choice": "auto" if tools else None,
    }
    if tools and "no_stream_with_tools" in vendor.quirks:
        body["stream"] = False
    if not body["stream"] or "no_stream_options" in vendor.quirks:
        del body["stream_options"]
    body = {name: value for name, value in body.items() if value is not None and name not in learned.without}
    return Call("/chat/completions", msgspec.json.encode(body))


def model_of(ask: ChatRequest, vendor: Vendor) -> str:
    """The model to ask for: the vendor's own when none is named, or the name cannot be one of this vendor's."""
    if not ask.model or ("model_has_slash" in vendor.quirks and "/" not in ask.model):
        return vendor.default_model
    return ask.model


def _messages(ask: ChatRequest, vendor: Vendor, model: str) -> list[dict[str, Any]]:
    system = "developer" if "//api.openai.com" in vendor.base_url and THINKS.match(model) else "system"
    echo = bool(ECHOES_REASONING.search(model))
    return [_message(message, vendor, system, echo) for message in ask.messages]


def _message(message: ChatMessage, vendor: Vendor, system: str, echo: bool) -> dict[str, Any]:
    match message.role:
        case "system":
            return {"role": system, "content": message.content.replace(CACHE_BOUNDARY, "")}
        case "user":
            return {"role": "user", "content": message.content}
        case "tool":
            answer = {"role": "tool", "tool_call_id": call_id(message.tool_call_id, vendor), "content": message.content}
            return answer | {"name": message.tool_name} if "names_tool_results" in vendor.quirks else answer
    out: dict[str, Any] = {"role": "assistant"}
    if message.content or not message.tool_calls:
        out["content"] = message.content
    if echo:
        out["reasoning_content"] = message.thinking
    if message.tool_calls:
        out["tool_calls"] = [
            {
                "id": call_id(call.id, vendor),
                "type": "function",
                "function": {"name": call.name, "arguments": msgspec.json.encode(call.arguments).decode()},
            }
            for call in message.tool_calls
        ]
    return out


def _tool(tool: ToolSpec) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {}, **tool.parameters}
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": function}


def call_id(id: str, vendor: Vendor) -> str:
    """`id` as this vendor accepts it. The same id always becomes the same one, so calls and results still meet."""
    if "nine_character_ids" in vendor.quirks:
        fits = len(id) == 9 and id.isascii() and id.isalnum()
        return id if fits else hashlib.sha256(id.encode()).hexdigest()[:9]
    return id if len(id) <= ID_LIMIT else hashlib.sha256(id.encode()).hexdigest()[:ID_LIMIT]
