"""What to ask instead, when a refusal says what was wrong with the question. Contract: providers.md §6."""

from __future__ import annotations

import re

from msgspec.structs import replace

from goclaw.domain.chat import ChatRequest
from goclaw.domain.errors import ProviderError
from goclaw.providers.wire import Learned

NAMES = (
    r"\b(stream_options|temperature|top_p|stop|seed|presence_penalty|frequency_penalty|reasoning_effort|tool_choice"
    r"|response_format|parallel_tool_calls)\b"
)
REFUSED = re.compile(  # "Unsupported parameter: 'temperature' …", "`temperature` is deprecated for this model."
    rf"(?:unsupported|unrecognized|unknown|unexpected|extra|not permitted).{{0,80}}?{NAMES}"
    rf"|{NAMES}.{{0,40}}?(?:deprecated|unsupported|not (?:supported|permitted|allowed)|extra inputs)",
    re.IGNORECASE,
)


def remedy(error: ProviderError, ask: ChatRequest, learned: Learned) -> Learned | None:
    """What is known of the model after `error`; None if that is nothing new."""
    if error.status != 400:
        return None
    found = REFUSED.search(error.message)
    name = found and (found[1] or found[2])
    if not name or name in learned.without:
        return None
    return replace(learned, without=learned.without | {name})
