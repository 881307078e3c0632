"""OpenAI chat completions, the answering half. Contract: providers.md §5.2, §5.3."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from goclaw.domain.chat import ChatResponse, FinishReason, Image, StreamChunk, Usage
from goclaw.domain.errors import ProviderError
from goclaw.providers.reader import CALLS, dollars, empty, interrupted, tokens, too_many_calls, tool_call
from goclaw.providers.trouble import inner_refusal

DATA_URL = re.compile(r"data:(image/[\w.+-]{1,40});base64,([A-Za-z0-9+/=]+)")
PICTURES = 16  # in one answer
MINIMAX = {1002: 429, 1004: 401, 1008: 402, 1013: 500, 1024: 500, 1026: 400, 1039: 429, 2049: 401, 2056: 429}


class _Part(Struct):
    text: str = ""


class _Google(Struct):
    thought_signature: str | None = None


class _Extra(Struct):
    google: _Google | None = None


class _Function(Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None
    thought_signature: str | None = None


class _Call(Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None
    extra_content: _Extra | None = None


class _Url(Struct):
    url: str = ""


class _Picture(Struct):
    image_url: _Url | None = None


class _Delta(Struct):
    """A piece of a message, or in an answer that came whole, the message."""

    content: str | list[_Part] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None
    images: list[_Picture] | None = None


class _Choice(Struct):
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None


class _PromptDetails(Struct):
    cached_tokens: int | None = None


class _CompletionDetails(Struct):
    reasoning_tokens: int | None = None


class _Usage(Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    cost: Any = None  # USD, a number of OpenRouter's; an object of others


class _BaseResponse(Struct):
    """MiniMax's own place for errors, in an answer that is a 200."""

    status_code: int = 0
    status_msg: str = ""


class _Chunk(Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None
    base_resp: _BaseResponse | None = None


_decode = msgspec.json.Decoder(_Chunk).decode


class _OpenCall:
    """A tool call whose pieces are still arriving."""

    __slots__ = ("arguments", "id", "name", "signature")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []
        self.signature: str | UnsetType = UNSET


class ChatAssembly:
    """One answer, in events or whole."""

    def __init__(self) -> None:
        self.done = False  # [DONE] was seen
        self.usage: Usage | None = None
        self._content: list[str] = []
        self._thinking: list[str] = []
        self._calls: dict[int, _OpenCall] = {}
        self._last_call = -1
        self._finish = ""
        self._streamed = False
        self._cost: Decimal | None = None
        self._images: list[Image] = []

    def event(self, data: bytes) -> StreamChunk | None:
        if data == b"[DONE]":
            self.done = True
            return None
        return self.whole(data)

    def whole(self, body: bytes) -> StreamChunk | None:
        chunk = _decode(body)
        if chunk.error:
            raise inner_refusal(chunk.error)
        if chunk.base_resp is not None and chunk.base_resp.status_code:
            raise _minimax(chunk.base_resp)
        if chunk.usage is not None:
            self.usage = _usage(chunk.usage)
            self._cost = _dollars(chunk.usage.cost)
        if not chunk.choices:
            return None
        choice = chunk.choices[0]
        if choice.finish_reason:
            self._finish = choice.finish_reason
        piece = choice.delta
        if piece is None and not self._streamed:  # else a summary of what has come already
            piece = choice.message
        if piece is None:
            return None
        self._streamed = True
        for call in piece.tool_calls or ():
            self._take_call(call)
        for picture in piece.images or ():
            self._take_picture(picture)
        thinking = piece.reasoning_content or piece.reasoning or ""
        content = piece.content or piece.refusal or ""
        if not isinstance(content, str):
            content = "".join(part.text for part in content)
        if thinking:
            self._thinking.append(thinking)
        if content:
            self._content.append(content)
        return StreamChunk(content=content, thinking=thinking) if content or thinking else None

    def _take_call(self, piece: _Call) -> None:
        index = piece.index
        if index is None:  # some vendors do not count: the same call goes on until a new id comes
            last = self._calls.get(self._last_call)
            index = self._last_call if last and piece.id in (None, "", last.id) else max(self._calls, default=-1) + 1
        self._last_call = index
        if (call := self._calls.get(index)) is None:
            if len(self._calls) >= CALLS:
                raise too_many_calls()
            call = self._calls[index] = _OpenCall()
        call.id = call.id or piece.id or ""
        if piece.extra_content is not None and piece.extra_content.google is not None:
            call.signature = piece.extra_content.google.thought_signature or call.signature
        if piece.function is not None:
            call.name = call.name or piece.function.name or ""
            call.signature = piece.function.thought_signature or call.signature
            arguments = piece.function.arguments
            if isinstance(arguments, str):
                call.arguments.append(arguments)
            elif arguments is not None:
                call.arguments = [msgspec.json.encode(arguments).decode()]

    def _take_picture(self, picture: _Picture) -> None:
        found = DATA_URL.fullmatch(picture.image_url.url) if picture.image_url is not None else None
        if found and len(self._images) < PICTURES:
            self._images.append(Image(found[1], found[2]))

    def answer(self) -> ChatResponse | ProviderError:
        if not (self.done or self._finish):
            return interrupted()
        content, thinking = "".join(self._content), "".join(self._thinking)
        calls = tuple(
            tool_call(call.id or f"call_{index}", call.name, "".join(call.arguments), signature=call.signature)
            for index, call in sorted(self._calls.items())
            if call.name
        )
        if not (content or thinking or calls or self._images):
            if self._finish == "content_filter":
                return ProviderError("content_policy", "the vendor's content filter withheld the answer")
            return empty()
        finish: FinishReason = "length" if self._finish == "length" else "tool_calls" if calls else "stop"
        return ChatResponse(
            content=content,
            thinking=thinking,
            tool_calls=calls,
            finish_reason=finish,
            usage=self.usage or Usage(),
            images=tuple(self._images),
            vendor_cost=self._cost,
        )


def _usage(said: _Usage) -> Usage:
    prompt, completion = said.prompt_tokens_details, said.completion_tokens_details
    return Usage(
        prompt_tokens=tokens(said.prompt_tokens),
        completion_tokens=tokens(said.completion_tokens),
        cache_read_tokens=tokens(prompt.cached_tokens if prompt else 0),
        thinking_tokens=tokens(completion.reasoning_tokens if completion else 0),
    )


def _minimax(said: _BaseResponse) -> ProviderError:
    return inner_refusal({"message": said.status_msg, "code": MINIMAX.get(said.status_code, 0)})


def _dollars(said: Any) -> Decimal | None:
    return dollars(said.get("total_cost") if isinstance(said, dict) else said)
