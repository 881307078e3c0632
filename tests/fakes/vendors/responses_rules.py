"""What OpenAI's Responses refuse, in its own words."""

from __future__ import annotations

import base64
import hmac
from typing import Any

from tests.fakes.vendors.openai_rules import NAME, reasons, refuse

FIELDS = frozenset(
    """
    model input background context_management conversation include instructions max_output_tokens max_tool_calls
    metadata moderation parallel_tool_calls previous_response_id prompt prompt_cache_key prompt_cache_options
    prompt_cache_retention reasoning safety_identifier service_tier store stream stream_options temperature text
    tool_choice tools top_logprobs top_p truncation user
    """.split()  # noqa: SIM905
)
MOVED = {
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
}
SHORTER = frozenset({"model", "input", "instructions", "previous_response_id", "prompt_cache_key"})
PREFIXES = {"function_call": "fc", "reasoning": "rs", "message": "msg", "compaction": "cmp"}
ROLES = ("assistant", "system", "developer", "user")
LEAST = 16  # tokens an answer is allowed at least
SECRET = b"only the vendor knows"


def check(body: dict[str, Any]) -> None:
    for name in body:
        if name in MOVED:
            what = f"In the Responses API, this parameter has moved to '{MOVED[name]}'."
            refuse(
                f"Unsupported parameter: '{name}'. {what} Try again with the new parameter.",
                name,
                "unsupported_parameter",
            )
        if name not in FIELDS:
            refuse(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    for name in ("model", "input"):
        if not body.get(name):
            refuse(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")
    if body["model"].startswith("no-such"):
        refuse(f"The requested model '{body['model']}' does not exist.", "model", "model_not_found")
    if (asked := body.get("max_output_tokens")) is not None and asked < LEAST:
        what = f"integer below minimum value. Expected a value >= {LEAST}, but got {asked} instead."
        refuse(f"Invalid 'max_output_tokens': {what}", "max_output_tokens", "integer_below_min_value")
    if reasons(body["model"]) and body.get("temperature") is not None:
        what = "'temperature' is not supported with this model."
        refuse(f"Unsupported parameter: {what}", "temperature", "unsupported_parameter")
    if (id := body.get("previous_response_id")) is not None:
        what = f"Previous response with id '{id}' not found."  # the farm stores no responses
        refuse(what, "previous_response_id", "previous_response_not_found")
    check_tools(body)
    check_items(items_of(body))


def check_tools(body: dict[str, Any]) -> None:
    for place, tool in enumerate(body.get("tools") or ()):
        where = f"tools[{place}].name"
        if tool.get("type") != "function":
            continue
        if not isinstance(tool.get("name"), str):  # also what comes of the shape of chat completions
            refuse(f"Missing required parameter: '{where}'.", where, "missing_required_parameter")
        if not NAME.fullmatch(tool["name"]):
            what = "string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'."
            refuse(f"Invalid '{where}': {what}", where, "invalid_value")


def check_items(items: list[Any]) -> None:
    called: set[str] = set()
    answered = {item.get("call_id") for item in items if item["type"] == "function_call_output"}
    for place, item in enumerate(items):
        where = f"input[{place}]"
        prefix = PREFIXES.get(item["type"], "")
        if (id := item.get("id")) is not None and not str(id).startswith(prefix):
            refuse(
                f"Invalid '{where}.id': '{id}'. Expected an ID that begins with '{prefix}'.",
                f"{where}.id",
                "invalid_value",
            )
        match item["type"]:
            case "message":
                check_message(item, where)
            case "function_call":
                called.add(item.get("call_id", ""))
                if not isinstance(item.get("arguments"), str):
                    what = "expected a string, but got an object instead."
                    refuse(f"Invalid type for '{where}.arguments': {what}", f"{where}.arguments", "invalid_type")
                if item.get("call_id") not in answered:
                    refuse(f"No tool output found for function call {item.get('call_id')}.", "input")
            case "function_call_output":
                if item.get("call_id") not in called:
                    what = f"No tool call found for function call output with call_id {item.get('call_id')}."
                    refuse(what, "input")
            case "reasoning":
                check_reasoning(items, place)
            case "compaction":
                check_seal(item)
            case other:
                refuse(f"Invalid value: '{other}'.", where, "invalid_value")


def check_reasoning(items: list[Any], place: int) -> None:
    """A thought is followed by what came of it, and its seal is whole."""
    item = items[place]
    after = items[place + 1] if place + 1 < len(items) else {"type": "nothing"}
    mine = after["type"] in ("function_call", "reasoning") or after.get("role") == "assistant"
    if not mine:
        what = "of type 'reasoning' was provided without its required following item."
        refuse(f"Item '{item.get('id')}' {what}", "input")
    if "encrypted_content" in item:
        check_seal(item)


def check_seal(item: dict[str, Any]) -> None:
    if not sealed(item.get("encrypted_content", "")):
        what = f"The encrypted content for item {item.get('id')} could not be verified."
        refuse(what, "input", "invalid_encrypted_content")


def check_shorter(body: dict[str, Any]) -> None:
    """`/responses/compact`."""
    for name in body.keys() - SHORTER:
        refuse(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    check_items(items_of(body))


def check_message(item: dict[str, Any], where: str) -> None:
    role, content = item.get("role"), item.get("content")
    if role not in ROLES:
        what = f"Invalid value: '{role}'. Supported values are: {', '.join(map(repr, ROLES))}."
        refuse(what, f"{where}.role", "invalid_value")
    if isinstance(content, str):
        return
    known = ("output_text", "refusal") if role == "assistant" else ("input_text", "input_image", "input_file")
    for index, part in enumerate(content or ()):
        if part.get("type") not in known:
            what = f"Invalid value: '{part.get('type')}'. Supported values are: {', '.join(map(repr, known))}."
            refuse(what, f"{where}.content[{index}]", "invalid_value")


def items_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    given = body["input"]
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    return [{"type": "message", **item} if "role" in item else item for item in given]


def seal(text: str) -> str:
    return base64.b64encode(hmac.digest(SECRET, text.encode(), "sha256") + text.encode()).decode()


def sealed(content: str) -> bool:
    try:
        return seal(base64.b64decode(content, validate=True)[32:].decode()) == content
    except ValueError:
        return False
