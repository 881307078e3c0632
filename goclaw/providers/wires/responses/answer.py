"""OpenAI Responses, the answering half: items by their id. Contract: providers.md §7.3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from goclaw.domain.chat import ChatResponse, FinishReason, Raw, StreamChunk, Usage
from goclaw.domain.errors import ProviderError
from goclaw.providers.reader import CALLS, empty, interrupted, tokens, too_many_calls, tool_call
from goclaw.providers.trouble import inner_refusal

ITEMS = 1024  # in one answer
COMPACTION = "response.compaction"
COMMENTARY = "commentary"  # a phase of text that is not the answer


class _InputDetails(Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(Struct):
    reasoning_tokens: int | None = None


class _Usage(Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None


class _Incomplete(Struct):
    reason: str | None = None


class _Part(Struct):
    """Of a message or a thought."""

    type: str = ""
    text: str | None = None
    refusal: str | None = None


class _Said(Struct):
    """An item as the vendor shows it, begun or complete."""

    type: str = "message"
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | dict[str, Any] | None = None
    phase: str | None = None
    content: list[_Part] | None = None
    summary: list[_Part] | None = None
    encrypted_content: str | None = None


class _Response(Struct):
    status: str | None = None
    output: list[_Said] | None = None
    usage: _Usage | None = None
    error: Any = None
    incomplete_details: _Incomplete | None = None


class _Shorter(Struct):
    """What stands for a conversation, to be given back as it is."""

    object: str = ""
    output: list[dict[str, Any]] = []
    usage: _Usage | None = None


class _Event(Struct):
    type: str = ""
    item_id: str = ""
    output_index: int = 0
    delta: str | None = None
    arguments: str | None = None
    item: _Said | None = None
    response: _Response | None = None
    error: Any = None
    message: str | None = None
    code: str | None = None


_event = msgspec.json.Decoder(_Event).decode
_response = msgspec.json.Decoder(_Response).decode
_shorter = msgspec.json.Decoder(_Shorter).decode


class _Item:
    """An item whose pieces are still arriving."""

    __slots__ = ("arguments", "place", "said", "text", "whole")

    def __init__(self, place: int, said: _Said) -> None:
        self.place = place
        self.said = said
        self.text: list[str] = []
        self.arguments: list[str] = []
        self.whole = False  # the vendor has shown all of it

    @property
    def called(self) -> str:
        """The tool it calls; empty if it calls none."""
        return (self.said.name or "") if self.said.type == "function_call" else ""


class ResponsesAssembly:
    """One answer, in events or whole."""

    def __init__(self) -> None:
        self.done = False
        self.usage: Usage | None = None
        self._items: dict[str, _Item] = {}
        self._calls = 0
        self._status = ""
        self._why = ""
        self._content: list[str] = []
        self._thought: list[str] = []
        self._shorter: tuple[dict[str, Any], ...] = ()

    def event(self, data: bytes) -> StreamChunk | None:
        if data == b"[DONE]":
            return None
        event = _event(data)
        match event.type:
            case "response.output_text.delta" | "response.refusal.delta" if event.delta:
                item = self._item(event)
                item.text.append(event.delta)
                return self._say(event.delta) if item.said.phase != COMMENTARY else None
            case "response.reasoning_summary_text.delta" if event.delta:
                return self._think(event.delta)
            case "response.reasoning_summary_part.added" if self._thought:
                return self._think("\n\n")
            case "response.function_call_arguments.delta" if event.delta:
                self._item(event).arguments.append(event.delta)
            case "response.function_call_arguments.done" if event.arguments is not None:
                self._item(event).arguments[:] = [event.arguments]
            case "response.output_item.added" | "response.output_item.done" if event.item is not None:
                id = event.item.id or f"item_{event.output_index}"
                self._show(id, event.output_index, event.item, whole=event.type.endswith("done"))
            case "response.completed" | "response.incomplete" | "response.failed" if event.response is not None:
                return self._end(event.response)
            case "error":
                raise inner_refusal(event.error or {"message": event.message or "", "code": event.code or ""})
        return None

    def whole(self, body: bytes) -> StreamChunk | None:
        shorter = _shorter(body)
        if shorter.object != COMPACTION:
            return self._end(_response(body))
        if len(shorter.output) > ITEMS:
            raise ProviderError("server_error", f"more than {ITEMS} items in one answer")
        self._shorter, self.done = tuple(shorter.output), True
        self.usage = _usage(shorter.usage) if shorter.usage is not None else None
        return StreamChunk(content=text) if (text := readable(self._shorter)) else None

    def answer(self) -> ChatResponse | ProviderError:
        if not self.done:
            return interrupted()
        if self._shorter:
            return ChatResponse(
                content=readable(self._shorter), usage=self.usage or Usage(), raw=Raw("", self._shorter)
            )
        items = self._ordered()
        calls = tuple(
            tool_call(item.said.call_id or id or f"call_{item.place}", item.called, _arguments(item))
            for id, item in items
            if item.called
        )
        content, thinking = "".join(self._content), "".join(self._thought)
        if not (content or thinking or calls):
            if self._why == "content_filter":
                return ProviderError("content_policy", "the vendor's content filter withheld the answer")
            return empty()
        length = self._status == "incomplete" and self._why != "content_filter"
        finish: FinishReason = "length" if length else "tool_calls" if calls else "stop"
        raw = tuple(kept for _, item in items if (kept := _kept(item)))
        return ChatResponse(
            content=content,
            thinking=thinking,
            tool_calls=calls,
            finish_reason=finish,
            usage=self.usage or Usage(),
            raw=Raw("", raw) if any(item["type"] == "reasoning" for item in raw) else None,
        )

    def _say(self, text: str) -> StreamChunk:
        self._content.append(text)
        return StreamChunk(content=text)

    def _think(self, text: str) -> StreamChunk:
        self._thought.append(text)
        return StreamChunk(thinking=text)

    def _item(self, event: _Event) -> _Item:
        """The item an event is about; one whose start was lost begins with it."""
        item = self._items.get(event.item_id)
        return item if item is not None else self._open(event.item_id, event.output_index)

    def _open(self, id: str, place: int) -> _Item:
        if len(self._items) >= ITEMS:
            raise ProviderError("server_error", f"more than {ITEMS} items in one answer")
        item = self._items[id] = _Item(place, _Said())
        return item

    def _show(self, id: str, place: int, said: _Said, *, whole: bool) -> None:
        item = self._items.get(id) or self._open(id, place)
        if said.type == "function_call" and item.said.type != "function_call":
            self._calls += 1
            if self._calls > CALLS:
                raise too_many_calls()
        item.said, item.whole = said, whole

    def _end(self, response: _Response) -> StreamChunk | None:
        """What the answer has beyond the pieces that came."""
        if response.error or response.status == "failed":
            raise inner_refusal(response.error or {"message": "the vendor says that it failed"})
        self._status = response.status or ""
        self._why = (response.incomplete_details and response.incomplete_details.reason) or ""
        begun = {item.place: id for id, item in self._items.items()}
        for place, said in enumerate(response.output or ()):
            known = said.id if said.id in self._items else begun.get(place)  # some call it otherwise in the end
            self._show(known or said.id or f"item_{place}", place, said, whole=True)
        if response.usage is not None:
            self.usage = _usage(response.usage)
        self.done = True
        unsaid = (_text(item) for _, item in self._ordered() if _speaks(item) and not item.text)
        content, thinking = "".join(unsaid), "" if self._thought else self._summary()
        if content:
            self._say(content)
        if thinking:
            self._think(thinking)
        return StreamChunk(content=content, thinking=thinking) if content or thinking else None

    def _ordered(self) -> list[tuple[str, _Item]]:
        return sorted(self._items.items(), key=lambda named: named[1].place)

    def _summary(self) -> str:
        return "\n\n".join(
            part.text or "" for _, item in self._ordered() if item.said.type == "reasoning" for part in _summary(item)
        )


def readable(items: Sequence[dict[str, Any]]) -> str:
    """What of the items anybody can read: the texts of messages, with who said them."""
    lines = []
    for item in items:
        said = msgspec.convert(item, _Said)
        if item.get("type") == "message" and (text := "".join(part.text or "" for part in said.content or ())):
            lines.append(f"{str(item.get('role', 'assistant')).capitalize()}: {text}")
    return "\n".join(lines)


def _speaks(item: _Item) -> bool:
    return item.said.type == "message" and item.said.phase != COMMENTARY


def _summary(item: _Item) -> list[_Part]:
    return item.said.summary or []


def _text(item: _Item) -> str:
    if item.text:
        return "".join(item.text)
    return "".join(part.text or part.refusal or "" for part in item.said.content or ())


def _arguments(item: _Item) -> str:
    said = item.said.arguments
    if isinstance(said, dict):
        said = msgspec.json.encode(said).decode()
    return said if item.whole and said else "".join(item.arguments)


def _kept(item: _Item) -> dict[str, Any] | None:
    """The item as it is given back: a thought only if it is sealed."""
    said = item.said
    match said.type:
        case "reasoning" if said.encrypted_content:
            summary = [{"type": part.type, "text": part.text or ""} for part in _summary(item)]
            return {"type": "reasoning", "id": said.id, "summary": summary, "encrypted_content": said.encrypted_content}
        case "function_call" if item.called:
            called = {"call_id": said.call_id, "name": item.called, "arguments": _arguments(item) or "{}"}
            return {"type": "function_call", **called}
        case "message" if text := _text(item):
            phase = {"phase": said.phase} if said.phase else {}
            content = [{"type": "output_text", "text": text}]
            return {"type": "message", "role": "assistant", "content": content, **phase}
    return None


def _usage(said: _Usage) -> Usage:
    put, out = said.input_tokens_details, said.output_tokens_details
    return Usage(
        prompt_tokens=tokens(said.input_tokens),
        completion_tokens=tokens(said.output_tokens),
        cache_read_tokens=tokens(put.cached_tokens if put else 0),
        cache_write_tokens=tokens(put.cache_write_tokens if put else 0),
        thinking_tokens=tokens(out.reasoning_tokens if out else 0),
    )
