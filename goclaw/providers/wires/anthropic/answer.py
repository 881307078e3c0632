"""Anthropic Messages, the answering half: blocks by their index. Contract: providers.md §4.2."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from goclaw.domain.chat import ChatResponse, FinishReason, Raw, StreamChunk, Usage
from goclaw.domain.errors import ProviderError
from goclaw.domain.tokens import estimate
from goclaw.providers.reader import CALLS, empty, interrupted, tokens, too_many_calls, tool_call
from goclaw.providers.trouble import inner_refusal

BLOCKS = 1024  # in one answer


class _Usage(Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None


class _Message(Struct):
    usage: _Usage | None = None


class _Delta(Struct):
    """Of a block, or of the message."""

    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    partial_json: str = ""
    stop_reason: str | None = None


class _Start(Struct):
    """A block as it begins, or all of it."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw(b"{}")


class _Event(Struct):
    """An event; or with `content`, an answer that came whole."""

    type: str = ""
    index: int = 0
    message: _Message | None = None
    content_block: _Start | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None
    error: Any = None
    content: list[_Start] | None = None
    stop_reason: str | None = None


_decode = msgspec.json.Decoder(_Event).decode


class _Block:
    """A block whose pieces are still arriving."""

    __slots__ = ("index", "json", "pieces", "signature", "start", "type")

    def __init__(self, index: int, start: _Start) -> None:
        self.index = index
        self.type = start.type
        self.start = start
        self.pieces: list[str] = []
        self.signature = [start.signature] if start.signature else []
        self.json: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def arguments(self) -> str | bytes:
        return "".join(self.json) or bytes(self.start.input)

    @property
    def called(self) -> str:
        """The tool it calls; empty if it calls none."""
        return (self.start.name or "") if self.type == "tool_use" else ""


class AnthropicAssembly:
    """One answer, in events or whole."""

    def __init__(self) -> None:
        self.done = False  # message_stop was seen
        self.usage: Usage | None = None
        self._counted = _Usage()
        self._blocks: list[_Block] = []  # as they began
        self._at: dict[int, _Block] = {}  # the last one that began with an index
        self._calls = 0
        self._content: list[str] = []
        self._thinking: list[str] = []
        self._stop = ""

    def event(self, data: bytes) -> StreamChunk | None:
        event = _decode(data)
        match event.type:
            case "content_block_delta" if event.delta is not None:
                return self._delta(event.index, event.delta)
            case "content_block_start" if event.content_block is not None:
                return self._open(event.index, event.content_block)
            case "message_start" if event.message is not None:
                self._count(event.message.usage)
            case "message_delta":
                self._stop = (event.delta and event.delta.stop_reason) or self._stop
                self._count(event.usage)
            case "message_stop":
                self.done = True
            case "error":
                raise inner_refusal(event.error)
            case "message" if not self._blocks:
                return self.whole(data)
        return None  # a ping, or something of tomorrow

    def whole(self, body: bytes) -> StreamChunk | None:
        message = _decode(body)
        if message.error is not None:
            raise inner_refusal(message.error)
        self._stop = message.stop_reason or ""
        self._count(message.usage)
        for index, block in enumerate(message.content or ()):
            self._open(index, block)
        self.done = True
        content, thinking = "".join(self._content), "".join(self._thinking)
        return StreamChunk(content=content, thinking=thinking) if content or thinking else None

    def answer(self) -> ChatResponse | ProviderError:
        if not (self.done or self._stop):
            return interrupted()
        if self._stop == "model_context_window_exceeded":
            return ProviderError("context_overflow", "the conversation does not fit into the model's window")
        blocks = sorted(self._blocks, key=lambda block: block.index)
        calls = tuple(
            tool_call(block.start.id or f"call_{place}", block.called, block.arguments)
            for place, block in enumerate(blocks)
            if block.called
        )
        content, thinking = "".join(self._content), "".join(self._thinking)
        if not (content or thinking or calls):
            if self._stop == "refusal":
                return ProviderError("content_policy", "the vendor's safety system withheld the answer")
            return empty()
        finish: FinishReason = "length" if self._stop == "max_tokens" else "tool_calls" if calls else "stop"
        if self.usage is not None and thinking:
            self.usage = msgspec.structs.replace(self.usage, thinking_tokens=estimate(thinking))
        raw = tuple(kept for block in blocks if (kept := _kept(block)))
        return ChatResponse(
            content=content,
            thinking=thinking,
            tool_calls=calls,
            finish_reason=finish,
            usage=self.usage or Usage(),
            raw=Raw("", raw) if any(block["type"] != "text" for block in raw) else None,
        )

    def _open(self, index: int, start: _Start) -> StreamChunk | None:
        block = self._at[index] = _Block(index, start)
        self._blocks.append(block)
        if len(self._blocks) > BLOCKS:
            raise ProviderError("server_error", f"more than {BLOCKS} blocks in one answer")
        self._calls += block.type == "tool_use"
        if self._calls > CALLS:
            raise too_many_calls()
        return self._say(block, (start.thinking if block.type == "thinking" else start.text) or "")

    def _delta(self, index: int, delta: _Delta) -> StreamChunk | None:
        block = self._at.get(index)
        if block is None:  # its start was lost
            return None
        match delta.type:
            case "text_delta" if block.type == "text":
                return self._say(block, delta.text)
            case "thinking_delta" if block.type == "thinking":
                return self._say(block, delta.thinking)
            case "signature_delta":
                block.signature.append(delta.signature)
            case "input_json_delta":
                block.json.append(delta.partial_json)
        return None

    def _say(self, block: _Block, text: str) -> StreamChunk | None:
        """Text in the order in which it is seen, whatever the order of its blocks."""
        if not text:
            return None
        block.pieces.append(text)
        if block.type == "thinking":
            self._thinking.append(text)
            return StreamChunk(thinking=text)
        if block.type == "text":
            self._content.append(text)
            return StreamChunk(content=text)
        return None

    def _count(self, usage: _Usage | None) -> None:
        """Later counts are of everything so far. Ours of the prompt holds what was cached, theirs does not."""
        if usage is None:
            return
        for name in _Usage.__struct_fields__:
            if (value := getattr(usage, name)) is not None:
                setattr(self._counted, name, value)
        counted = self._counted
        read, written = tokens(counted.cache_read_input_tokens), tokens(counted.cache_creation_input_tokens)
        self.usage = Usage(
            prompt_tokens=tokens(tokens(counted.input_tokens) + read + written),
            completion_tokens=tokens(counted.output_tokens),
            cache_read_tokens=read,
            cache_write_tokens=written,
        )


def _kept(block: _Block) -> dict[str, Any] | None:
    """The block as it is given back: unchanged, or not at all."""
    match block.type:
        case "text":
            return {"type": "text", "text": block.text} if block.text.strip() else None
        case "thinking" if block.signature:  # the vendor refuses an unsigned one
            return {"type": "thinking", "thinking": block.text, "signature": "".join(block.signature)}
        case "redacted_thinking":
            return {"type": "redacted_thinking", "data": block.start.data or ""}
        case "tool_use" if block.called:
            call = tool_call("", block.called, block.arguments)
            return {"type": "tool_use", "id": block.start.id, "name": call.name, "input": call.arguments}
    return None
