"""OpenAI chat completions, the asking half: a `ChatRequest` as a JSON body. Contract: providers.md §5.1, §6, §10."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec

from goclaw.domain.chat import ChatRequest, ToolSpec
from goclaw.domain.effort import Effort, Reasoning
from goclaw.providers import text_schema, text_tools
from goclaw.providers.catalogue import Vendor
from goclaw.providers.effort import dropped, settle
from goclaw.providers.registry import model_named
from goclaw.providers.schema import PLAIN, cleaned
from goclaw.providers.wire import Call, Learned
from goclaw.providers.wires.chat.messages import messages_of

THINKS = re.compile(r"gpt-5|o[134](?:-|$)")  # length is `max_completion_tokens`, the system is a developer
FIXED_TEMPERATURE = re.compile(r"gpt-5-(?:mini|nano)|o[134](?:-|$)|deepseek-reasoner")
GEMINI = re.compile(r"gemini-")
BUDGETS: dict[Effort, int] = {"low": 4096, "medium": 16_384, "high": 32_768}  # tokens of DashScope; §10.2
GEMINI_EFFORTS: dict[Effort, Effort] = {"none": "low", "minimal": "low", "medium": "high", "xhigh": "high"}


def write(ask: ChatRequest, vendor: Vendor, learned: Learned) -> Call:
    model = model_of(ask, vendor)
    bare = model.rpartition("/")[2]
    known = model_named(model, vendor.model_info)
    if "no_tools" in vendor.quirks or "tools" in learned.without or not known.tools:
        ask = text_tools.in_words(ask)
    if not learned.knows_forms:
        ask = text_schema.in_words(ask)
    tools = [_tool(tool, vendor) for tool in ask.tools]
    options = ask.options
    thinks = bool(THINKS.match(bare))
    official = "//api.openai.com" in vendor.base_url
    longest = options.max_tokens
    if learned.most_tokens is not None:
        longest = min(longest or learned.most_tokens, learned.most_tokens)
    body: dict[str, Any] = {
        "model": model,
        "messages": messages_of(ask.messages, vendor, bare, system="developer" if official and thinks else "system"),
        "stream": not (tools and "no_stream_with_tools" in vendor.quirks),
        "max_completion_tokens" if thinks else "max_tokens": longest,
        "temperature": None if FIXED_TEMPERATURE.match(bare) else 0 if learned.cool else options.temperature,
        "top_p": options.top_p,
        "stop": list(options.stop) or None,
        "seed": options.seed,
        "presence_penalty": options.presence_penalty,
        "frequency_penalty": options.frequency_penalty,
        "response_format": options.response_format if learned.knows_forms else None,
        "tools": tools or None,
        "tool_choice": "auto" if tools else None,
        "prompt_cache_key": _cache_key(ask) if official and vendor.prompt_cache else None,
    }
    if body["stream"] and "together.xyz" not in vendor.base_url:
        body["stream_options"] = {"include_usage": True}
    reasoning = settle(options.reasoning_effort, known, exact=options.reasoning_exact)
    more, reasoning = _think(reasoning, vendor, bare, streams=body["stream"])
    body |= more | vendor.extra
    body = {name: value for name, value in body.items() if value is not None and name not in learned.without}
    return Call(vendor.chat_path, msgspec.json.encode(body), reasoning=reasoning, longest=longest)


def model_of(ask: ChatRequest, vendor: Vendor) -> str:
    """The model to ask for: the vendor's own when none is named, or the name cannot be one of this vendor's."""
    if not ask.model or ("model_has_slash" in vendor.quirks and "/" not in ask.model):
        return vendor.default_model
    return ask.model


def _think(
    reasoning: Reasoning | None, vendor: Vendor, model: str, *, streams: bool
) -> tuple[dict[str, Any], Reasoning | None]:
    """An effort in the vendor's words, and what became of it."""
    if reasoning is None or reasoning.effective is None:
        return {}, reasoning
    effort = reasoning.effective
    if "thinks_by_budget" in vendor.quirks and effort in BUDGETS and streams:
        return {"enable_thinking": True, "thinking_budget": BUDGETS[effort]}, reasoning
    if "thinks_by_object" in vendor.quirks:
        return {"reasoning": {"effort": effort}}, reasoning
    if GEMINI.match(model):
        return {"reasoning_effort": GEMINI_EFFORTS.get(effort, effort)}, reasoning
    if THINKS.match(model):
        return {"reasoning_effort": effort}, reasoning
    return {}, dropped(reasoning)


def _tool(tool: ToolSpec, vendor: Vendor) -> dict[str, Any]:
    schema = cleaned(tool.parameters, PLAIN if "plain_schemas" in vendor.quirks else ())
    function = {"name": tool.name, "description": tool.description, "parameters": schema}
    return {"type": "function", "function": function}


def _cache_key(ask: ChatRequest) -> str | None:
    """The same for all questions of one conversation (providers.md §11)."""
    session = ask.metadata.get("session")
    if not session:
        return None
    return hashlib.sha256(f"{ask.metadata.get('agent', '')}\n{session}".encode()).hexdigest()[:32]
