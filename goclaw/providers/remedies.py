"""What to ask instead, when a refusal says what was wrong with the question. Contract: providers.md §6."""

from __future__ import annotations

import re

from msgspec.structs import replace

from goclaw.domain.chat import ChatRequest
from goclaw.domain.errors import ProviderError
from goclaw.providers.wire import Learned

NAMES = (
    r"\b(stream_options|temperature|top_p|stop|seed|presence_penalty|frequency_penalty|reasoning_effort|tool_choice"
    r"|response_format|prompt_cache_key)\b"
)
REFUSED = re.compile(  # "Unsupported parameter: 'temperature' …", "`temperature` is deprecated for this model."
    rf"(?:unsupported|unrecognized|unknown|unexpected|extra|not permitted).{{0,80}}?{NAMES}"
    rf"|{NAMES}.{{0,40}}?(?:deprecated|unsupported|not (?:supported|permitted|allowed)|extra inputs)",
    re.IGNORECASE,
)
FORM = r"(?:response_format|output_config\.format|text\.format)"
SCHEMA = re.compile(  # this one, while others may do
    rf"(?<!json_)schema.{{0,80}}?{FORM}|{FORM}.{{0,80}}?(?<!json_)schema", re.IGNORECASE
)
NO_TOOLS = re.compile(r"does(?: not|n.t) support (?:tools|function)|tools? (?:is|are) not supported", re.IGNORECASE)
TOO_LONG = re.compile(
    r"max_(?:completion_|output_)?tokens.{0,120}?(?:too large|too high|maximum|at most|exceed|less than|range|>|<=)"
    r"|(?:maximum|at most|exceed|range).{0,60}?max_(?:completion_|output_)?tokens",
    re.IGNORECASE | re.DOTALL,
)
NUMBER = re.compile(r"\b\d{2,7}\b")
LEAST = 16  # tokens; a model that allows less is not worth asking


def remedy(error: ProviderError, ask: ChatRequest, longest: int | None, learned: Learned) -> Learned | None:
    """What is known of the model after `error`; None if that is nothing new. `longest`: the tokens it was asked for.

    A conversation that is too long says nothing about the next one.
    """
    if error.status not in (400, 422) or error.kind == "context_overflow":
        return None
    if "tool_use_failed" in error.message and not learned.cool:
        return replace(learned, cool=True)
    if TOO_LONG.search(error.message):
        return _shorter(error.message, longest, learned)
    if ask.options.response_format and learned.knows_forms and SCHEMA.search(error.message):
        return replace(learned, formless=True)
    if NO_TOOLS.search(error.message):
        name: str | None = "tools"
    else:
        found = REFUSED.search(error.message)
        name = found and (found[1] or found[2])
    if not name or name in learned.without:
        return None
    return replace(learned, without=learned.without | {name})


def _shorter(said: str, asked: int | None, learned: Learned) -> Learned | None:
    """The number in the message, or once half of what was asked for."""
    if asked is None:
        return None
    named = [number for number in map(int, NUMBER.findall(said)) if LEAST <= number < asked]
    most = max(named, default=asked // 2 if learned.most_tokens is None else 0)
    return replace(learned, most_tokens=most) if most >= LEAST else None
