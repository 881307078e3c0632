"""OpenAI chat completions, the answering half: bytes in, `StreamChunk`s out. Contract: providers.md §5.2, §5.3, §14."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Struct

from goclaw.domain.chat import ChatResponse, FinishReason, StreamChunk, ToolCall, Usage
from goclaw.domain.errors import ProviderError, ProviderTrouble
from goclaw.providers.sse import EventReader, EventTooLarge
from goclaw.providers.trouble import foreign_page, inner_refusal, one_line

BODY_LIMIT = 64 * 2**20  # bytes of one answer; providers.md §14
PAGE_LIMIT = 64 * 2**10  # bytes kept of something that is not an answer; providers.md §8
BAD_CHUNKS = 10  # unreadable chunks that are forgiven; providers.md §5.2
CALLS = 128  # tool calls in one answer; more is a model in a loop
FIELD = re.compile(rb"(?:data|event|id|retry)?:")  # how a stream of events begins
LONGEST_FIELD = len(b"event:")
BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Part(Struct):
    text: str = ""


class _Function(Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class _Call(Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(Struct):
    """A piece of a message, or in an answer that came whole, the message."""

    content: str | list[_Part] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


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


class _Chunk(Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode


class _OpenCall:
    """A tool call whose pieces are still arriving."""

    __slots__ = ("arguments", "id", "name")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []


class AnswerReader:
    """Reads one answer. Feed it bytes as they come, then `finish` it when the connection ends or `done` is set.

    Never raises on what a vendor sends: what is wrong with it becomes `error`, after which everything is ignored.
    Any split of the same bytes gives the same chunks. An answer that is plain JSON instead of a stream is read too.
    """

    def __init__(self, content_type: str = "") -> None:
        self.content_type = content_type
        self.error: ProviderError | None = None
        self.done = False  # [DONE] was seen
        self.usage: Usage | None = None  # what the vendor counted, if it did
        self._size = 0
        self._head = bytearray()  # the body so far, while it does not look like events
        self._whole = False  # it will not: this is JSON, or somebody's page
        self._events: EventReader | None = None  # it does
        self._content: list[str] = []
        self._thinking: list[str] = []
        self._calls: dict[int, _OpenCall] = {}
        self._last_call = -1
        self._finish = ""
        self._bad = 0

    def feed(self, data: bytes) -> list[StreamChunk]:
        """What `data` adds to the answer: nothing, or pieces of text and thinking in order."""
        if self.error or self.done:
            return []
        self._size += len(data)
        if self._size > BODY_LIMIT:
            self._fail("bad_answer", f"the answer is larger than {BODY_LIMIT} bytes")
            return []
        if self._events is None:
            self._head += data
            if self._whole:  # JSON or a page: judged when it has all come
                if len(self._head) > PAGE_LIMIT and self._head[:1] != b"{":
                    self._fail_as_page()
                return []
            self._head = self._head.lstrip(b"\xef\xbb\xbf \t\r\n")
            if not FIELD.match(self._head):
                self._whole = len(self._head) >= LONGEST_FIELD
                return []
            self._events, data = EventReader(), bytes(self._head)
        return self._read(self._events, data)

    def finish(self) -> tuple[list[StreamChunk], ChatResponse | ProviderError]:
        """The pieces that were still held back, and the whole answer or why there is none."""
        chunks: list[StreamChunk] = []
        if self._events is not None and not (self.error or self.done):
            chunks = self._read(self._events, b"\n\n")  # the last event may lack its empty line
        elif self._events is None and not self.error:
            chunks = self._read_whole()
        return chunks, self.error or self._answer()

    def _read(self, events: EventReader, data: bytes) -> list[StreamChunk]:
        chunks: list[StreamChunk] = []
        try:
            for event in events.feed(data):
                if event == b"[DONE]":
                    self.done = True
                elif event:
                    self._read_event(event, chunks)
                if self.done or self.error:
                    break
        except EventTooLarge as error:
            self._fail("bad_answer", str(error))
        return chunks

    def _read_event(self, event: bytes, chunks: list[StreamChunk]) -> None:
        try:
            chunk = _decode(event)
        except BROKEN:
            self._bad += 1
            if self._bad > BAD_CHUNKS:
                shown = event[:80].decode("utf-8", "replace")
                self._fail("bad_answer", f"more than {BAD_CHUNKS} unreadable chunks: {shown}")
        else:
            self._take(chunk, chunks)

    def _read_whole(self) -> list[StreamChunk]:
        chunks: list[StreamChunk] = []
        try:
            whole = _decode(self._head)
        except BROKEN:
            self._fail_as_page()
        else:
            self._take(whole, chunks)
            self.done = self.error is None
        return chunks

    def _take(self, chunk: _Chunk, chunks: list[StreamChunk]) -> None:
        if chunk.error:
            self.error = inner_refusal(chunk.error)
            return
        if chunk.usage is not None:
            self.usage = _usage(chunk.usage)
        if not chunk.choices:
            return
        choice = chunk.choices[0]
        if choice.finish_reason:
            self._finish = choice.finish_reason
        if (piece := choice.delta or choice.message) is None:
            return
        thinking = piece.reasoning_content or piece.reasoning or ""
        content = piece.content or piece.refusal or ""
        if not isinstance(content, str):
            content = "".join(part.text for part in content)
        if thinking:
            self._thinking.append(thinking)
        if content:
            self._content.append(content)
        if content or thinking:
            chunks.append(StreamChunk(content=content, thinking=thinking))
        for call in piece.tool_calls or ():
            self._take_call(call)

    def _take_call(self, piece: _Call) -> None:
        index = piece.index
        if index is None:  # some vendors do not count: the same call goes on until a new id comes
            last = self._calls.get(self._last_call)
            index = self._last_call if last and piece.id in (None, "", last.id) else max(self._calls, default=-1) + 1
        self._last_call = index
        if (call := self._calls.get(index)) is None:
            if len(self._calls) >= CALLS:
                self._fail("bad_answer", f"more than {CALLS} tool calls in one answer")
                return
            call = self._calls[index] = _OpenCall()
        call.id = call.id or piece.id or ""
        if piece.function is not None:
            call.name = call.name or piece.function.name or ""
            arguments = piece.function.arguments
            if isinstance(arguments, str):
                call.arguments.append(arguments)
            elif arguments is not None:
                call.arguments = [msgspec.json.encode(arguments).decode()]

    def _answer(self) -> ChatResponse | ProviderError:
        if not (self.done or self._finish):
            return ProviderError("network", "stream_interrupted: the vendor closed the connection in mid-answer")
        content, thinking = "".join(self._content), "".join(self._thinking)
        calls = tuple(_call(index, call) for index, call in sorted(self._calls.items()) if call.name)
        if not (content or thinking or calls):
            if self._finish == "content_filter":
                return ProviderError("bad_request", "the vendor's content filter withheld the answer")
            return ProviderError("bad_answer", "the vendor sent an empty answer")
        finish: FinishReason = "length" if self._finish == "length" else "tool_calls" if calls else "stop"
        return ChatResponse(
            content=content,
            thinking=thinking,
            tool_calls=calls,
            finish_reason=finish,
            usage=self.usage or Usage(),
        )

    def _fail(self, kind: ProviderTrouble, message: str) -> None:
        self.error = ProviderError(kind, one_line(message))
        self._head.clear()

    def _fail_as_page(self) -> None:
        page = self._head[:PAGE_LIMIT].decode("utf-8", "replace")
        self._fail("bad_answer", foreign_page(200, self.content_type, page))


def _call(index: int, call: _OpenCall) -> ToolCall:
    id, text = call.id or f"call_{index}", "".join(call.arguments)
    try:
        return ToolCall(id=id, name=call.name, arguments=msgspec.json.decode(text or "{}", type=dict[str, Any]))
    except BROKEN as error:
        return ToolCall(id=id, name=call.name, parse_error=one_line(f"arguments are not a JSON object: {error}"))


def _usage(said: _Usage) -> Usage:
    prompt, completion = said.prompt_tokens_details, said.completion_tokens_details
    return Usage(
        prompt_tokens=said.prompt_tokens or 0,
        completion_tokens=said.completion_tokens or 0,
        cache_read_tokens=(prompt and prompt.cached_tokens) or 0,
        thinking_tokens=(completion and completion.reasoning_tokens) or 0,
    )
