"""What the Messages API refuses, in its own words. `check` raises Refuse with status 400 (404: no such model)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from tests.fakes.vendors.anthropic_thoughts import check_seal, generation, prefix, preserves, thinks
from tests.fakes.vendors.script import Refuse

FIELDS = frozenset(
    """
    model messages max_tokens metadata stop_sequences stream system temperature thinking tool_choice tools top_k top_p
    cache_control container context_management diagnostics inference_geo mcp_servers output_config service_tier speed
    user_profile_id workspace_id fallbacks
    """.split()  # noqa: SIM905
)
SAMPLING = ("temperature", "top_p", "top_k")
NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
ID = re.compile(r"[a-zA-Z0-9_-]+")
INSTEAD = 'Use "thinking.type.adaptive" and "output_config.effort" to control thinking behavior.'
EFFORTS = ("low", "medium", "high", "xhigh", "max")


def check(body: dict[str, Any], *, sampling: bool = True) -> None:
    """`sampling`: the version of the API has temperature, top_p and top_k."""
    for name in ("model", "messages", "max_tokens"):
        if name not in body:
            raise Refuse(400, f"{name}: Field required")
    for name in body:
        if name not in FIELDS or (name in SAMPLING and not sampling):
            raise Refuse(400, f"{name}: Extra inputs are not permitted")
    if not isinstance(body["model"], str) or body["model"].startswith("no-such"):
        raise Refuse(404, f"model: {body['model']}")
    if not isinstance(body["max_tokens"], int) or body["max_tokens"] < 1:
        raise Refuse(400, "max_tokens: must be greater than or equal to 1")
    if body["max_tokens"] > (most := longest(body["model"])):
        what = f"which is the maximum allowed number of output tokens for {body['model']}"
        raise Refuse(400, f"max_tokens: {body['max_tokens']} > {most}, {what}")
    check_sampling(body)
    check_thinking(body)
    check_tools(body)
    check_messages(body)
    marked = sum("cache_control" in block for block in markable(body))
    if marked + ("cache_control" in body) > 4:
        raise Refuse(400, f"A maximum of 4 blocks with cache_control may be provided. Found {marked}.")


def check_sampling(body: dict[str, Any]) -> None:
    new = generation(body["model"]) >= (4, 7)
    for name, most in (("temperature", 1), ("top_p", 1), ("top_k", None)):
        if (value := body.get(name)) is None:
            continue
        if new:
            raise Refuse(400, f"`{name}` is deprecated for this model.")
        if value < 0 or (most is not None and value > most):
            raise Refuse(400, f"{name}: range: 0..1")
    if generation(body["model"]) >= (4, 5) and {"temperature", "top_p"} <= body.keys():
        raise Refuse(400, "`temperature` and `top_p` cannot both be specified for this model. Please use only one.")


def check_thinking(body: dict[str, Any]) -> None:
    version = generation(body["model"])
    thinking = body.get("thinking") or {}
    effort = (body.get("output_config") or {}).get("effort")
    if effort is not None and effort not in EFFORTS:
        raise Refuse(400, f"output_config.effort: Input should be {', '.join(map(repr, EFFORTS))}")
    match thinking.get("type"):
        case "enabled":
            check_budget(body, thinking.get("budget_tokens"))
        case "adaptive":
            if version < (4, 6):
                raise Refuse(400, "adaptive thinking is not supported on this model")
        case "disabled":
            if version >= (5, 5):
                raise Refuse(400, f'"thinking.type.disabled" is not supported for this model. {INSTEAD}')
            if version >= (5, 0) and effort in ("xhigh", "max"):
                raise Refuse(400, f'"thinking.type.disabled" is not supported with effort "{effort}".')
        case None if not thinking:
            pass
        case other:
            raise Refuse(
                400, f"thinking: Input tag '{other}' found using 'type' does not match any of the expected tags"
            )
    if version >= (4, 7) or thinking.get("type") != "enabled":
        return
    if body.get("temperature", 1) != 1:
        raise Refuse(400, "`temperature` may only be set to 1 when thinking is enabled.")
    if "top_k" in body:
        raise Refuse(400, "`top_k` must be unset when thinking is enabled.")


def check_budget(body: dict[str, Any], budget: Any) -> None:
    if generation(body["model"]) >= (4, 7):
        raise Refuse(400, f'"thinking.type.enabled" is not supported for this model. {INSTEAD}')
    if not isinstance(budget, int):
        raise Refuse(400, "thinking.enabled.budget_tokens: Field required")
    if budget < 1024:
        raise Refuse(400, "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
    if body["max_tokens"] <= budget:
        raise Refuse(400, "`max_tokens` must be greater than `thinking.budget_tokens`.")


def check_tools(body: dict[str, Any]) -> None:
    tools = body.get("tools") or []
    names = [tool.get("name") for tool in tools]
    for place, tool in enumerate(tools):
        where = f"tools.{place}.custom"
        if not isinstance(tool.get("name"), str) or not NAME.fullmatch(tool["name"]):
            raise Refuse(400, f"{where}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        if tool.get("type", "custom") != "custom":
            continue
        schema = tool.get("input_schema")
        if not isinstance(schema, dict):
            raise Refuse(400, f"{where}.input_schema: Field required")
        if schema.get("type") != "object":
            raise Refuse(400, f"{where}.input_schema.type: Input should be 'object'")
    if len(set(names)) < len(names):
        raise Refuse(400, "tools: Tool names must be unique.")
    choice = (body.get("tool_choice") or {}).get("type")
    if choice and not tools:
        raise Refuse(400, "tool_choice may only be specified while providing tools.")
    if choice in ("any", "tool"):
        if generation(body["model"]) >= (5, 5):
            raise Refuse(400, 'tool_choice: type "tool" and "any" are not supported for this model.')
        if (body.get("thinking") or {}).get("type") == "enabled":
            raise Refuse(400, "Thinking may not be enabled when tool_choice forces tool use.")


def check_messages(body: dict[str, Any]) -> None:
    messages = body["messages"]
    if not messages:
        raise Refuse(400, "messages: at least one message is required")
    roles = ("user", "assistant", "system") if preserves(body["model"]) else ("user", "assistant")
    for place, message in enumerate(messages):
        if message.get("role") not in roles:
            advice = 'The Messages API accepts a top-level `system` parameter, not "system" as an input message role.'
            raise Refuse(400, f'messages: Unexpected role "{message.get("role")}". {advice}')
        if not message.get("content") and (place < len(messages) - 1 or message["role"] == "user"):
            what = "all messages must have non-empty content except for the optional final assistant message"
            raise Refuse(400, f"messages.{place}: {what}")
    if messages[0]["role"] != "user":
        raise Refuse(400, 'messages: first message must use the "user" role')
    turns = merged(messages)
    for place, (role, blocks) in enumerate(turns):
        for index, block in enumerate(blocks):
            where = f"messages.{place}.content.{index}"
            check_block(block, role, where)
            if block["type"] in ("thinking", "redacted_thinking"):
                check_thought(block, where, body, prefix(body, turns[:place], blocks[:index]))
        check_pairs(turns, place)
    last = turns[-1]
    if last[0] == "assistant":
        check_prefill(last[1], body)
    check_kept_thoughts(turns, body)


def check_block(block: dict[str, Any], role: str, where: str) -> None:
    match block.get("type"):
        case "text":
            if not block.get("text"):
                if "cache_control" in block:
                    raise Refuse(400, f"{where}: cache_control cannot be set for empty text blocks")
                raise Refuse(400, "messages: text content blocks must be non-empty")
        case "thinking" | "redacted_thinking":
            pass
        case "tool_use":
            if not ID.fullmatch(str(block.get("id", ""))):
                raise Refuse(400, f"{where}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
            if not isinstance(block.get("input"), dict):
                raise Refuse(400, f"{where}.tool_use.input: Input should be a valid dictionary")
            if role != "assistant":
                raise Refuse(400, f"{where}: `tool_use` blocks can only be in `assistant` messages")
        case "tool_result":
            if role != "user":
                raise Refuse(400, f"{where}: `tool_result` blocks can only be in `user` messages")
        case "image" | "document":
            if role != "user":
                raise Refuse(400, f"{where}: `{block['type']}` blocks are not permitted in assistant messages")
        case other:
            raise Refuse(
                400, f"{where}: Input tag '{other}' found using 'type' does not match any of the expected tags"
            )


def check_thought(block: dict[str, Any], where: str, body: dict[str, Any], before: str) -> None:
    if "cache_control" in block:
        raise Refuse(400, f"{where}.{block['type']}.cache_control: Extra inputs are not permitted")
    if block["type"] == "redacted_thinking":
        return check_seal(block.get("data", ""), None, where, body, before)
    if "signature" not in block:
        raise Refuse(400, f"{where}.thinking.signature: Field required")
    return check_seal(block["signature"], block.get("thinking", ""), where, body, before)


def check_pairs(turns: list[tuple[str, list[Any]]], place: int) -> None:
    """Calls are answered in the next turn, results answer the turn before, and come first in it."""
    role, blocks = turns[place]
    if role == "assistant":
        after = turns[place + 1][1] if place + 1 < len(turns) else []
        answered = {block.get("tool_use_id") for block in after if block["type"] == "tool_result"}
        open_ = [block["id"] for block in blocks if block["type"] == "tool_use" and block["id"] not in answered]
        if open_:
            what = "`tool_use` ids were found without `tool_result` blocks immediately after"
            rule = "Each `tool_use` block must have a corresponding `tool_result` block in the next message."
            raise Refuse(400, f"messages.{place}: {what}: {', '.join(open_)}. {rule}")
        return
    before = turns[place - 1][1] if place else []
    called = {block["id"] for block in before if block["type"] == "tool_use"}
    for index, block in enumerate(blocks):
        if block["type"] == "tool_result" and block.get("tool_use_id") not in called:
            what = f"unexpected `tool_use_id` found in `tool_result` blocks: {block.get('tool_use_id')}"
            rule = "Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
            raise Refuse(400, f"messages.{place}.content.{index}: {what}. {rule}")


def check_prefill(blocks: list[Any], body: dict[str, Any]) -> None:
    if generation(body["model"]) >= (4, 6):
        rule = "The conversation must end with a user message."
        raise Refuse(400, f"This model does not support assistant message prefill. {rule}")
    if thinks(body):
        raise Refuse(400, "messages: final assistant message cannot be prefilled when thinking is enabled")
    if blocks and blocks[-1]["type"] == "text" and blocks[-1]["text"] != blocks[-1]["text"].rstrip():
        raise Refuse(400, "messages: final assistant content cannot end with trailing whitespace")


def check_kept_thoughts(turns: list[tuple[str, list[Any]]], body: dict[str, Any]) -> None:
    """In a tool loop with thinking on, the turn that called must still begin with its thoughts."""
    if (body.get("thinking") or {}).get("type") != "enabled" or len(turns) < 2:
        return
    place = len(turns) - 2
    blocks = turns[place][1]
    if not any(block["type"] == "tool_result" for block in turns[-1][1]):
        return
    if blocks[0]["type"] not in ("thinking", "redacted_thinking"):
        found = f"Expected `thinking` or `redacted_thinking`, but found `{blocks[0]['type']}`."
        rule = "When `thinking` is enabled, a final `assistant` message must start with a thinking block"
        order = "(preceeding the lastmost set of `tool_use` and `tool_result` blocks)."
        raise Refuse(400, f"messages.{place}.content.0.type: {found} {rule} {order}")


def merged(messages: list[Any]) -> list[tuple[str, list[Any]]]:
    """Messages of one role in a row are one turn."""
    turns: list[tuple[str, list[Any]]] = []
    for message in messages:
        if turns and turns[-1][0] == message["role"]:
            turns[-1][1].extend(blocks_of(message))
        else:
            turns.append((message["role"], blocks_of(message)))
    return turns


def blocks_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content") or []
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def markable(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Everything that may carry `cache_control`, in the order of the prompt: tools, system, messages."""
    yield from body.get("tools") or ()
    system = body.get("system") or ()
    yield from () if isinstance(system, str) else system
    for message in body["messages"]:
        yield from blocks_of(message)


def prefixes(body: dict[str, Any]) -> list[bytes]:
    """What lies before and in each block with `cache_control`."""
    out, sofar = [], bytearray()
    for block in markable(body):
        sofar += msgspec.json.encode({name: value for name, value in block.items() if name != "cache_control"})
        if "cache_control" in block:
            out.append(bytes(sofar))
    return out


def longest(model: str) -> int:
    """Tokens an answer may have."""
    return 128_000 if generation(model) >= (4, 6) else 64_000
