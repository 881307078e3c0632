"""Anthropic Messages, the answering half: blocks by their index. Contract: providers.md §4.2."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from goclaw.domain.chat import ChatResponse, FinishReason, Raw, StreamChunk, Usage
from goclaw.domain.errors import ProviderError
from goclaw.domain.tokens import estimate
from goclaw.providers.reader import CALLS, empty, interrupted, too_many_calls, tool_call
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


class _Event(Struct):
    """An event; or with `content`, an answer that came whole."""

    type: str = ""
    index: int = 0
    message: _Message | None = None
    content_block: dict[str, Any] | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None
    error: Any = None
    content: list[dict[str, Any]] | None = None
    stop_reason: str | None = None


_decode = msgspec.json.Decoder(_Event).decode


class _Block:
    """A block whose pieces are still arriving."""

    __slots__ = ("json", "members", "pieces", "signature", "type")

    def __init__(self, start: dict[str, Any]) -> None:
        self.type = str(start.get("type", ""))
        self.members = start
        self.pieces = [text for name in ("text", "thinking") if isinstance(text := start.get(name), str) and text]
        self.signature = [start["signature"]] if isinstance(start.get("signature"), str) else []
        self.json: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def arguments(self) -> str:
        written = "".join(self.json)
        return written or msgspec.json.encode(self.members.get("input") or {}).decode()


class AnthropicAssembly:
    """One answer, in events or whole."""

    def __init__(self) -> None:
        self.done = False  # message_stop was seen
        self.usage: Usage | None = None
        self._counted = _Usage()
        self._blocks: dict[int, _Block] = {}
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
            case "message":
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
        content, thinking = self._text("text"), self._text("thinking")
        return StreamChunk(content=content, thinking=thinking) if content or thinking else None

    def answer(self) -> ChatResponse | ProviderError:
        if not (self.done or self._stop):
            return interrupted()
        if self._stop == "model_context_window_exceeded":
            return ProviderError("context_overflow", "the conversation does not fit into the model's window")
        blocks = [block for _, block in sorted(self._blocks.items())]
        calls = tuple(
            tool_call(str(block.members.get("id") or f"call_{place}"), str(block.members["name"]), block.arguments)
            for place, block in enumerate(blocks)
            if block.type == "tool_use" and block.members.get("name")
        )
        content, thinking = self._text("text"), self._text("thinking")
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

    def _open(self, index: int, start: dict[str, Any]) -> StreamChunk | None:
        block = self._blocks[index] = _Block(start)
        if len(self._blocks) > BLOCKS:
            raise ProviderError("server_error", f"more than {BLOCKS} blocks in one answer")
        if block.type == "tool_use" and sum(one.type == "tool_use" for one in self._blocks.values()) > CALLS:
            raise too_many_calls()
        return _said(block.type, block.text)

    def _delta(self, index: int, delta: _Delta) -> StreamChunk | None:
        block = self._blocks.get(index)
        if block is None:  # its start was lost
            return None
        match delta.type:
            case "text_delta" if block.type == "text":
                block.pieces.append(delta.text)
                return _said("text", delta.text)
            case "thinking_delta" if block.type == "thinking":
                block.pieces.append(delta.thinking)
                return _said("thinking", delta.thinking)
            case "signature_delta":
                block.signature.append(delta.signature)
            case "input_json_delta":
                block.json.append(delta.partial_json)
        return None

    def _text(self, type: str) -> str:
        return "".join(block.text for _, block in sorted(self._blocks.items()) if block.type == type)

    def _count(self, usage: _Usage | None) -> None:
        """Later counts are of everything so far. Ours of the prompt holds what was cached, theirs does not."""
        if usage is None:
            return
        for name in _Usage.__struct_fields__:
            if (value := getattr(usage, name)) is not None:
                setattr(self._counted, name, value)
        counted = self._counted
        read, written = counted.cache_read_input_tokens or 0, counted.cache_creation_input_tokens or 0
        self.usage = Usage(
            prompt_tokens=(counted.input_tokens or 0) + read + written,
            completion_tokens=counted.output_tokens or 0,
            cache_read_tokens=read,
            cache_write_tokens=written,
        )


def _said(type: str, text: str) -> StreamChunk | None:
    if not text:
        return None
    return StreamChunk(thinking=text) if type == "thinking" else StreamChunk(content=text) if type == "text" else None


def _kept(block: _Block) -> dict[str, Any] | None:
    """The block as it is given back: unchanged, or not at all."""
    match block.type:
        case "text":
            return {"type": "text", "text": block.text} if block.text.strip() else None
        case "thinking" if block.signature:  # the vendor refuses an unsigned one
            return {"type": "thinking", "thinking": block.text, "signature": "".join(block.signature)}
        case "redacted_thinking":
            return {"type": "redacted_thinking", "data": block.members.get("data", "")}
        case "tool_use" if block.members.get("name"):
            call = tool_call("", str(block.members["name"]), block.arguments)
            return {"type": "tool_use", "id": block.members.get("id"), "name": call.name, "input": call.arguments}
    return None
