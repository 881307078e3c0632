"""When the older part of a conversation becomes a summary, and how much stays. Contract: agent-loop.md §13.1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from goclaw.settings.keys import fields, spellings
from goclaw.settings.section import Section

S = TypeVar("S", bound=Section)
Mode = Literal["summary", "responses_compact", "hybrid"]
Messages = Annotated[int, Meta(ge=2, le=300)]  # a turn reads 400
Chars = Annotated[int, Meta(ge=500, le=1_000_000)]


class MemoryFlush(Section, frozen=True):
    """What is worth keeping is written down before a conversation gets shorter."""

    enabled: bool = True
    soft_threshold_tokens: Annotated[int, Meta(ge=0, le=1_000_000, description="before the reserve is reached")] = 4000
    prompt: Annotated[str, Meta(max_length=8000, description="empty = the built-in one")] = ""
    system_prompt: Annotated[str, Meta(max_length=8000, description="empty = the built-in one")] = ""


class Compaction(Section, frozen=True):
    """The older part of a conversation becomes a summary."""

    enabled: Annotated[bool, Meta(description="by itself, after a run; on demand it always works")] = True
    mode: Annotated[Mode, Meta(description="a model's words, its provider's own form, or words of that")] = "summary"
    summarizer_model: Annotated[str, Meta(max_length=200, description="empty = the agent's own")] = ""
    min_messages: Annotated[Messages, Meta(description="more are compacted")] = 50
    max_history_share: Annotated[float, Meta(ge=0.05, le=1, description="of the window; more is compacted")] = 0.75
    keep_last_messages: Annotated[Messages, Meta(description="that stay at least")] = 4
    keep_share: Annotated[float, Meta(ge=0, le=0.95, description="of the messages that stays")] = 0.30
    reserve_tokens_floor: Annotated[int, Meta(ge=0, le=1_000_000, description="of the window, for what comes")] = 20_000
    max_summary_chars: Chars = 6000
    max_transcript_chars: Annotated[Chars, Meta(description="that a model summarises at once")] = 20_000
    memory_flush: MemoryFlush = MemoryFlush()


class ContextCompaction(Section, frozen=True):
    """Other names of `compaction`. One of them changes what is default there: 60 messages, of which 20 stay."""

    enabled: bool | None = None
    mode: Mode | None = None
    trigger_messages: Messages | None = None
    keep_recent_messages: Messages | None = None
    max_summary_chars: Chars | None = None
    max_transcript_chars: Chars | None = None


ALIASES = {
    "enabled": "enabled",
    "mode": "mode",
    "min_messages": "trigger_messages",
    "keep_last_messages": "keep_recent_messages",
    "max_summary_chars": "max_summary_chars",
    "max_transcript_chars": "max_transcript_chars",
}
DEFAULTS: dict[str, Any] = {"min_messages": 60, "keep_last_messages": 20, "keep_share": 0.0}  # of the other names


def with_aliases(settings: Compaction, others: ContextCompaction) -> dict[str, Any]:
    """What the other names change of `settings`: nothing if none of them is used."""
    given = {name: value for name, alias in ALIASES.items() if (value := getattr(others, alias)) is not None}
    return DEFAULTS | given if given else {}


def of_agent(settings: S, own: Mapping[str, Any]) -> S:
    """What an agent's record says, else everybody's. What does not fit there is left out."""
    known, changes = spellings(type(settings)), dict[str, Any]()
    for key, value in own.items():
        if (name := known.get(key)) is None:
            continue
        inner = getattr(settings, name)
        if isinstance(inner, Section):
            changes[name] = of_agent(inner, value) if isinstance(value, dict) else inner
            continue
        try:
            changes[name] = msgspec.convert(value, fields(type(settings))[name].type)
        except msgspec.ValidationError:
            continue
    return replace(settings, **changes)
