"""What OpenAI's chat completions refuse, in its own words. Everything raises Refuse with status 400 (404: no model)."""

from __future__ import annotations

import re
from typing import Any, NoReturn

from tests.fakes.vendors.script import Refuse

FIELDS = frozenset(
    """
    model messages audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens
    metadata modalities moderation n parallel_tool_calls prediction presence_penalty prompt_cache_key
    prompt_cache_options prompt_cache_retention reasoning_effort response_format safety_identifier seed service_tier
    stop store stream stream_options temperature tool_choice tools top_logprobs top_p user verbosity web_search_options
    """.split()  # noqa: SIM905
)
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
NAME = re.compile(r"[a-zA-Z0-9_-]+")
ID_LENGTH = 40  # characters
OUTPUT = 16_384  # tokens an answer of gpt-4o may have
WINDOW = 128_000  # tokens of gpt-4o


def refuse(message: str, param: str | None = None, code: str | None = None, status: int = 400) -> NoReturn:
    raise Refuse(status, message, kind="invalid_request_error", param=param, code=code)


def reasons(model: str) -> bool:
    """Whether it is an o-series or gpt-5 model."""
    return re.match(r"o\d|gpt-5(?!.*chat)", model) is not None


def check_known(body: dict[str, Any]) -> None:
    for name in body:
        if name not in FIELDS:
            refuse(f"Unknown parameter: '{name}'.", name, "unknown_parameter")


def check_form(body: dict[str, Any]) -> None:
    if not isinstance(body.get("model"), str) or not body["model"]:
        refuse("you must provide a model parameter")
    if body["model"].startswith("no-such"):
        what = f"The model `{body['model']}` does not exist or you do not have access to it."
        refuse(what, code="model_not_found", status=404)
    messages = body.get("messages")
    if messages is None:
        refuse("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
    if not isinstance(messages, list) or not messages:
        what = "empty array. Expected an array with minimum length 1, but got an empty array instead."
        refuse(f"Invalid 'messages': {what}", "messages", "empty_array")
    if body.get("stream_options") is not None and not body.get("stream"):
        refuse("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    for place, message in enumerate(messages):
        if message.get("role") not in ROLES:
            what = f"Invalid value: '{message.get('role')}'. Supported values are: {', '.join(map(repr, ROLES))}."
            refuse(what, f"messages[{place}].role", "invalid_value")
        if message.get("content") is None and not message.get("tool_calls") and message["role"] != "function":
            what = "Invalid value for 'content': expected a string, got null."
            refuse(what, f"messages.[{place}].content")


def check_tools(body: dict[str, Any]) -> None:
    tools = body.get("tools")
    if tools is not None and not tools:
        what = "empty array. Expected an array with minimum length 1, but got an empty array instead."
        refuse(f"Invalid 'tools': {what}", "tools", "empty_array")
    for name in ("tool_choice", "parallel_tool_calls"):
        if body.get(name) is not None and not tools:
            refuse(f"'{name}' is only allowed when 'tools' are specified.", name)
    for place, tool in enumerate(tools or ()):
        name = (tool.get("function") or {}).get("name")
        where = f"tools[{place}].function.name"
        if tool.get("type") != "function":
            continue
        if not isinstance(name, str):
            refuse(f"Missing required parameter: '{where}'.", where, "missing_required_parameter")
        if not NAME.fullmatch(name):
            what = "string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'."
            refuse(f"Invalid '{where}': {what}", where, "invalid_value")
        if len(name) > 64:
            what = (
                f"string too long. Expected a string with maximum length 64, but got a string with length {len(name)}"
            )
            refuse(f"Invalid '{where}': {what} instead.", where, "string_above_max_length")


def check_conversation(messages: list[Any]) -> None:
    """Every call is answered by the tool messages right after it, and these answer nothing else."""
    open_: list[str] = []
    for place, message in enumerate(messages):
        if message["role"] == "tool":
            if message.get("tool_call_id") not in open_:
                what = "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."
                refuse(f"Invalid parameter: {what}", f"messages.[{place}].role")
            open_.remove(message["tool_call_id"])
            continue
        unanswered(open_, place)
        for index, call in enumerate(message.get("tool_calls") or ()):
            where = f"messages[{place}].tool_calls[{index}]"
            check_call(call, where)
            open_.append(call["id"])
    unanswered(open_, len(messages))


def unanswered(open_: list[str], place: int) -> None:
    if open_:
        rule = "An assistant message with 'tool_calls' must be followed by tool messages"
        what = "responding to each 'tool_call_id'. The following tool_call_ids did not have response messages"
        refuse(f"{rule} {what}: {', '.join(open_)}", f"messages.[{place}].role")


def check_call(call: dict[str, Any], where: str) -> None:
    if not isinstance(call.get("id"), str):
        refuse(f"Missing required parameter: '{where}.id'.", f"{where}.id", "missing_required_parameter")
    if len(call["id"]) > ID_LENGTH:
        what = f"Expected a string with maximum length {ID_LENGTH}, but got a string with length {len(call['id'])}"
        refuse(f"Invalid '{where}.id': string too long. {what} instead.", f"{where}.id", "string_above_max_length")
    if not isinstance((call.get("function") or {}).get("arguments"), str):
        what = "expected a string, but got an object instead."
        refuse(f"Invalid type for '{where}.function.arguments': {what}", f"{where}.function.arguments", "invalid_type")


def check_limits(body: dict[str, Any]) -> None:
    asked = body.get("max_completion_tokens") or body.get("max_tokens") or 0
    if not reasons(body["model"]) and asked > OUTPUT:
        what = f"This model supports at most {OUTPUT} completion tokens, whereas you provided {asked}."
        refuse(f"max_tokens is too large: {asked}. {what}", "max_tokens", "invalid_value")
    size = sum(len(str(message.get("content") or "")) for message in body["messages"]) // 4
    if size > WINDOW:
        what = f"However, your messages resulted in {size} tokens. Please reduce the length of the messages."
        message = f"This model's maximum context length is {WINDOW} tokens. {what}"
        refuse(message, "messages", "context_length_exceeded")
    temperature = body.get("temperature")
    if temperature is not None and not 0 <= temperature <= 2:
        bound, code = ("above maximum", "decimal_above_max_value") if temperature > 2 else ("below minimum", "")
        what = f"decimal {bound} value. Expected a value <= 2, but got {temperature} instead."
        refuse(f"Invalid 'temperature': {what}", "temperature", code or "decimal_below_min_value")


def check_reasoning(body: dict[str, Any]) -> None:
    if body.get("max_tokens") is not None:
        what = "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        refuse(f"Unsupported parameter: {what}", "max_tokens", "unsupported_parameter")
    for name in ("temperature", "top_p"):
        value = body.get(name, 1)
        if value in (1, None):
            continue
        if body["model"].startswith("o"):
            refuse(f"Unsupported parameter: '{name}' is not supported with this model.", name, "unsupported_parameter")
        what = f"'{name}' does not support {value} with this model. Only the default (1) value is supported."
        refuse(f"Unsupported value: {what}", name, "unsupported_value")
