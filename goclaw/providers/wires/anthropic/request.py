"""Anthropic Messages, the asking half: a `ChatRequest` as a JSON body. Contract: providers.md §4.1, §10, §11."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import msgspec

from goclaw.domain.chat import ChatMessage, ChatRequest, ToolCall
from goclaw.domain.tokens import estimate
from goclaw.providers.catalogue import Vendor
from goclaw.providers.effort import settle
from goclaw.providers.prompt_cache import CACHE_BOUNDARY
from goclaw.providers.registry import model_named
from goclaw.providers.schema import cleaned
from goclaw.providers.text_schema import in_words
from goclaw.providers.wire import Call, Learned
from goclaw.providers.wires.anthropic.models import family, model_id, takes_schemas, thinking, thinks_by_effort

MAX_TOKENS = 8192  # the field is required; providers.md §4.1
BUDGETS = {"minimal": 1024, "low": 4096, "medium": 10_000, "high": 32_000, "xhigh": 32_000}  # tokens; §10.2
ROOM = 8192  # tokens of answer beside a budget
EFFORT_TOKENS = 16_384  # the least for an answer with effort
EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high"}
WORTH_CACHING = 1024  # tokens; §11
THOUGHTS = ("thinking", "redacted_thinking")
EPHEMERAL = {"type": "ephemeral"}
OPENING = "(The conversation goes on.)"  # somebody must have spoken before the assistant


def write(ask: ChatRequest, vendor: Vendor, learned: Learned) -> Call:
    model = model_id(ask.model or vendor.default_model)
    options = ask.options
    schema = _schema(options.response_format) if takes_schemas(model) and learned.knows_forms else None
    if schema is None:
        ask = in_words(ask)
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": options.max_tokens or MAX_TOKENS,
        "messages": _messages(ask.messages, family(model)),
        "stream": True,
        "temperature": options.temperature,
        "top_p": options.top_p if options.temperature is None else None,  # newer models take only one of them
        "stop_sequences": list(options.stop) or None,
    }
    known = model_named(model, vendor.model_info)
    reasoning = settle(options.reasoning_effort, known, exact=options.reasoning_exact)
    headers = _think(body, model, (reasoning and reasoning.effective) or "none")
    if schema is not None:
        body["output_config"] = {**body.get("output_config", {}), "format": {"type": "json_schema", "schema": schema}}
    if learned.most_tokens is not None:
        _shorten(body, learned.most_tokens)
    _offer_tools(body, ask)
    system = [{"type": "text", "text": text} for text in _system(ask.messages)]
    if system:
        body["system"] = system
    if vendor.prompt_cache:
        _mark(body)
    body = {name: value for name, value in body.items() if value is not None and name not in learned.without}
    return Call("/messages", msgspec.json.encode(body), headers, reasoning, body["max_tokens"], family(model))


def _schema(form: dict[str, Any] | None) -> dict[str, Any] | None:
    match form:
        case {"type": "json_schema", "json_schema": {"schema": dict() as schema}}:
            return schema
    return None


def _think(body: dict[str, Any], model: str, effort: str) -> dict[str, str]:
    """Let it think as hard as `effort` says; headers for that."""
    if effort not in BUDGETS or not (thinks_by_effort(model) or _thought_so_far(body["messages"])):
        return {}
    body["temperature"] = body["top_p"] = None
    if thinks_by_effort(model):
        body["thinking"] = thinking(model)
        body["output_config"] = {"effort": EFFORTS[effort]}
        body["max_tokens"] = max(body["max_tokens"], EFFORT_TOKENS)
        return {}
    budget = BUDGETS[effort]
    body["thinking"] = {"type": "enabled", "budget_tokens": budget}
    if body["max_tokens"] <= budget:
        body["max_tokens"] = budget + ROOM
    return {"anthropic-beta": "interleaved-thinking-2025-05-14"}


def _shorten(body: dict[str, Any], most: int) -> None:
    """No answer of more than `most` tokens; of fewer thoughts, if they would leave no room for it."""
    body["max_tokens"] = min(body["max_tokens"], most)
    if body.get("thinking", {}).get("budget_tokens", 0) >= body["max_tokens"]:
        body["thinking"]["budget_tokens"] = max(BUDGETS["minimal"], body["max_tokens"] - ROOM)


def _thought_so_far(turns: list[dict[str, Any]]) -> bool:
    """Whether a loop over tools that is under way began with a thought; one that did not cannot think later."""
    said = turns[-2:-1]
    last = turns[-1]["content"][0]["type"]
    return last != "tool_result" or not said or said[0]["content"][0]["type"] in THOUGHTS


def _offer_tools(body: dict[str, Any], ask: ChatRequest) -> None:
    if ask.tools:
        body["tools"] = [
            {"name": tool.name, "description": tool.description, "input_schema": cleaned(tool.parameters)}
            for tool in ask.tools
        ]
        return
    used = dict.fromkeys(call.name for message in ask.messages for call in message.tool_calls)
    if used:  # a conversation with calls is refused without their tools
        body["tools"] = [{"name": name, "input_schema": {"type": "object"}} for name in used]
        body["tool_choice"] = {"type": "none"}


def _system(messages: Iterable[ChatMessage]) -> list[str]:
    """The stable part of the prompt and the part that changes, without empty ones."""
    prompt = "\n\n".join(message.content for message in messages if message.role == "system")
    return [text for part in prompt.split(CACHE_BOUNDARY, 1) if (text := part.replace(CACHE_BOUNDARY, "").strip())]


def _messages(messages: Iterable[ChatMessage], of: str) -> list[dict[str, Any]]:
    """Turns that alternate; results of one batch are one turn, with whatever the user said after them."""
    turns = [
        {"role": role, "content": [block for message in turn for block in _blocks(message, of)]}
        for role, turn in groupby(
            (message for message in messages if message.role != "system"),
            lambda message: "assistant" if message.role == "assistant" else "user",
        )
    ]
    turns = [turn for turn in turns if turn["content"]]
    if not turns or turns[0]["role"] != "user":
        turns.insert(0, {"role": "user", "content": [{"type": "text", "text": OPENING}]})
    return turns


def _blocks(message: ChatMessage, of: str) -> Iterator[dict[str, Any]]:
    match message.role:
        case "tool":
            result = {"type": "tool_result", "tool_use_id": message.tool_call_id, "content": message.content}
            yield result | ({"is_error": True} if message.is_error else {})
        case "assistant" if message.raw is not None and message.raw.family == of:
            yield from _verbatim(message.raw.blocks, message.tool_calls)
        case _:
            if message.content.strip():
                yield {"type": "text", "text": message.content}
            for image in message.images:
                source = {"type": "base64", "media_type": image.media_type, "data": image.data}
                yield {"type": "image", "source": source}
            for call in message.tool_calls:
                yield {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}


def _verbatim(blocks: Iterable[dict[str, Any]], calls: Iterable[ToolCall]) -> Iterator[dict[str, Any]]:
    """What the model itself wrote, its calls under the ids we gave them; one that was never made is left out."""
    made = iter(calls)
    for block in blocks:
        if block.get("type") != "tool_use":
            yield dict(block)
        elif (call := next(made, None)) is not None:
            yield {**block, "id": call.id}


def _mark(body: dict[str, Any]) -> None:
    """Up to three of four breakpoints: the stable prompt, the last tool, the end of the conversation."""
    system = body.get("system", [])
    if len(system) > 1 and estimate(system[0]["text"]) >= WORTH_CACHING:
        system[0]["cache_control"] = EPHEMERAL
    if body.get("tools"):
        body["tools"][-1]["cache_control"] = EPHEMERAL
    last = body["messages"][-1]["content"][-1]
    if last["type"] not in THOUGHTS:
        last["cache_control"] = EPHEMERAL
