"""OpenAI Responses, the asking half: a `ChatRequest` as items. Contract: providers.md §7.3.

Nothing is stored with the vendor. A model's thoughts travel sealed, and go back to it with what came of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from goclaw.domain.chat import ChatMessage, ChatRequest, ToolCall
from goclaw.providers.catalogue import Vendor
from goclaw.providers.effort import settle
from goclaw.providers.prompt_cache import CACHE_BOUNDARY
from goclaw.providers.registry import model_named
from goclaw.providers.schema import cleaned
from goclaw.providers.text_schema import in_words
from goclaw.providers.wire import Call, Learned

INSTRUCTIONS = "You are a helpful assistant."  # the backend of accounts wants some
SEALED = "reasoning.encrypted_content"
LEAST = 16  # tokens of an answer


def family(model: str) -> str:
    return "responses:" + model


def write(ask: ChatRequest, vendor: Vendor, learned: Learned) -> Call:
    if ask.compact:
        return _shorter(ask, ask.model or vendor.default_model)
    account = vendor.wire == "chatgpt_oauth"
    if not learned.knows_forms:
        ask = in_words(ask)
    model, options = ask.model or vendor.default_model, ask.options
    system = "\n\n".join(message.content for message in ask.messages if message.role == "system")
    system = system.replace(CACHE_BOUNDARY, "")
    known = model_named(model, vendor.model_info)
    reasoning = settle(options.reasoning_effort, known, exact=options.reasoning_exact)
    effort = reasoning.effective if reasoning else None
    body: dict[str, Any] = {
        "model": model,
        "input": [item for message in ask.messages for item in _items(message, family(model))],
        "instructions": system or (INSTRUCTIONS if account else None),
        "stream": True,
        "store": False,
        "include": [SEALED] if effort and effort != "none" else None,
        "reasoning": {"effort": effort, "summary": "auto"} if effort else None,
        "tools": [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": cleaned(tool.parameters),
                "strict": False,
            }
            for tool in ask.tools
        ]
        or None,
        "text": _format(options.response_format) if learned.knows_forms else None,
        "prompt_cache_key": _cache_key(ask) if "//api.openai.com" in vendor.base_url or account else None,
    }
    longest = None if account else _longest(options.max_tokens, learned.most_tokens)
    if not account:  # whose backend takes neither
        body |= {
            "max_output_tokens": longest,
            "temperature": None if effort else options.temperature,
            "top_p": None if effort else options.top_p,
        }
    body = {name: value for name, value in body.items() if value is not None and name not in learned.without}
    headers = {"OpenAI-Beta": "responses=v1"} if account else {}
    path = "/codex/responses" if account else "/responses"
    return Call(path, msgspec.json.encode(body), headers, reasoning, longest, family(model))


def _shorter(ask: ChatRequest, model: str) -> Call:
    """Has the vendor make a conversation shorter; what comes back is given to its models unchanged."""
    system = "\n\n".join(message.content for message in ask.messages if message.role == "system")
    items = [item for message in ask.messages for item in _items(message, family(model))]
    body = {"model": model, "input": items, **({"instructions": system} if system else {})}
    return Call("/responses/compact", msgspec.json.encode(body), family=family(model))


def _longest(wanted: int | None, most: int | None) -> int | None:
    """Tokens of the answer: what is wished for, if the model can."""
    named = [tokens for tokens in (wanted, most) if tokens]
    return max(LEAST, min(named)) if named else None


def _items(message: ChatMessage, of: str) -> Iterator[dict[str, Any]]:
    match message.role:
        case "system":
            return
        case "user":
            parts: list[dict[str, Any]] = [{"type": "input_text", "text": message.content}]
            for image in message.images:
                parts.append({"type": "input_image", "image_url": f"data:{image.media_type};base64,{image.data}"})
            yield {"type": "message", "role": "user", "content": parts}
        case "tool":
            yield {"type": "function_call_output", "call_id": message.tool_call_id, "output": message.content}
        case "assistant" if message.raw is not None and message.raw.family == of:
            yield from _verbatim(message.raw.blocks, message.tool_calls)
        case "assistant":
            if message.content:
                content = [{"type": "output_text", "text": message.content}]
                yield {"type": "message", "role": "assistant", "content": content}
            for call in message.tool_calls:
                arguments = msgspec.json.encode(call.arguments).decode()
                yield {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": arguments}


def _verbatim(blocks: Iterable[dict[str, Any]], calls: Iterable[ToolCall]) -> Iterator[dict[str, Any]]:
    """The model's own items, its calls under our ids. A thought of which nothing is left is left out too."""
    made, thoughts = iter(calls), list[dict[str, Any]]()
    for block in blocks:
        match block.get("type"):
            case "reasoning":
                thoughts.append(block)
                continue
            case "function_call":
                call = next(made, None)
                item = {**block, "call_id": call.id} if call is not None else None
            case _:
                item = block
        if item is not None:
            yield from thoughts
            yield item
        thoughts.clear()


def _format(wanted: dict[str, Any] | None) -> dict[str, Any] | None:
    """`response_format` of chat completions, where it lives here."""
    match wanted:
        case {"type": "json_schema", "json_schema": {"schema": dict(schema), **more}}:
            named = {"name": more.get("name", "answer"), "strict": more.get("strict", False)}
            return {"format": {"type": "json_schema", "schema": schema, **named}}
        case {"type": "json_object"}:
            return {"format": {"type": "json_object"}}
    return None


def _cache_key(ask: ChatRequest) -> str:
    """The same for all questions of one conversation (providers.md §11)."""
    who = f"{ask.metadata.get('agent', '')}\n{ask.metadata.get('session', '')}"
    return hashlib.sha256(who.encode()).hexdigest()[:32]
