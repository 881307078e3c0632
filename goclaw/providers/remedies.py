"""What to ask instead, when a refusal says what was wrong with the question. Contract: providers.md §6."""

from __future__ import annotations

import re

from msgspec.structs import replace

from goclaw.domain.chat import ChatRequest
from goclaw.domain.errors import ProviderError
from goclaw.providers.wire import Learned

REFUSED = re.compile(  # "Unsupported parameter: 'temperature' …"
    r"(?:unsupported|unrecognized|unknown|unexpected|extra|not permitted).{0,80}?\b"
    r"(stream_options|temperature|top_p|stop|seed|presence_penalty|frequency_penalty|reasoning_effort|tool_choice)\b",
    re.IGNORECASE,
)


def remedy(error: ProviderError, ask: ChatRequest, learned: Learned) -> Learned | None:
    """What is known of the model after `error`; None if that is nothing new."""
    if error.status != 400:
        return None
    found = REFUSED.search(error.message)
    if found is None or found[1] in learned.without:
        return None
    return replace(learned, without=learned.without | {found[1]})
