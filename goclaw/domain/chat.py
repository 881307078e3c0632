"""What passes between an agent and a model, whoever the vendor is. Contract: providers.md §1."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from goclaw.domain.effort import Reasoning

ChatRole = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "tool_calls", "length"]


class ToolCall(Struct, frozen=True, kw_only=True):
    """A model's wish to run a tool. `parse_error` is set when its arguments were not a JSON object."""

    id: str
    name: str
    arguments: dict[str, Any] = {}
    parse_error: str | None = None
    signature: str | UnsetType = UNSET  # Gemini's, to be given back with the call (providers.md §10.3)


class Image(Struct, frozen=True):
    """A picture in base64."""

    media_type: str
    data: str


class Raw(Struct, frozen=True):
    """An answer in the vendor's own blocks, to be given back unchanged to models of the same family (§4.1).

    The family is of the model that was asked for: what a vendor answers may be called by another name.
    """

    family: str
    blocks: tuple[dict[str, Any], ...]


class ChatMessage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    role: ChatRole
    content: str = ""
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""  # role tool: which call this answers
    tool_name: str = ""
    is_error: bool = False
    images: tuple[Image, ...] = ()  # role user: after the text
    raw: Raw | None = None  # role assistant


class ToolSpec(Struct, frozen=True, kw_only=True):
    """A tool as a model sees it; `parameters` is a JSON Schema object."""

    name: str
    description: str
    parameters: dict[str, Any]


class ChatOptions(Struct, frozen=True, kw_only=True, omit_defaults=True):
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    reasoning_effort: str | None = None
    reasoning_exact: bool = False  # one that the model does not take is left out, not replaced by the nearest
    response_format: dict[str, Any] | None = (
        None  # OpenAI's shape: {"type": "json_schema", "json_schema": {"schema": …}}
    )
    form_retries: int = 2  # of an answer that does not fit it; agent-loop.md §16
    form_lenient: bool = False  # one that never does is an answer all the same


class ChatRequest(Struct, frozen=True, kw_only=True):
    messages: tuple[ChatMessage, ...]
    model: str
    tools: tuple[ToolSpec, ...] = ()
    options: ChatOptions = ChatOptions()
    compact: bool = False  # not to be answered: made shorter by the provider's own means (agent-loop.md §13.4)
    metadata: dict[str, Any] = {}  # run_kind, agent, session: seen by the offline model and traces, never sent away


class Usage(Struct, frozen=True, kw_only=True):
    """Tokens of one or several model calls. `estimated` when a vendor did not say.

    The prompt holds what was cached, the completion what was thought, whichever way a vendor counts.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    thinking_tokens: int = 0
    estimated: bool = False

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            thinking_tokens=self.thinking_tokens + other.thinking_tokens,
            estimated=self.estimated or other.estimated,
        )


class ChatResponse(Struct, frozen=True, kw_only=True):
    content: str = ""
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason = "stop"
    usage: Usage = Usage()
    images: tuple[Image, ...] = ()
    raw: Raw | None = None
    provider: str = ""  # who answered, after failover
    model: str = ""
    vendor: str = ""  # whose prices hold, whatever the provider is called
    reasoning: Reasoning | None = None  # what became of the wish for it
    vendor_cost: Decimal | None = None  # USD, where the vendor says so
    offline: bool = False  # no language model produced this (providers.md §16.1 O2)
    fits: bool | None = None  # the `response_format` it should; None: there is none, or it asks for tools
    out_of_budget: bool = False  # nor this: no purse paid for another call (§18)
    rule: str = ""  # the offline rule that did


class StreamChunk(Struct, frozen=True, kw_only=True):
    """A piece of an answer. The last chunk of every stream carries the whole answer in `done`."""

    content: str = ""
    thinking: str = ""
    done: ChatResponse | None = None
