"""OpenAI Responses, the answering half: items by their id. Contract: providers.md §7.3."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from goclaw.domain.chat import ChatResponse, FinishReason, Raw, StreamChunk, Usage
from goclaw.domain.errors import ProviderError
from goclaw.providers.reader import CALLS, empty, interrupted, too_many_calls, tool_call
from goclaw.providers.trouble import inner_refusal

ITEMS = 1024  # in one answer
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


class _Response(Struct):
    status: str | None = None
    output: list[dict[str, Any]] | None = None
    usage: _Usage | None = None
    error: Any = None
    incomplete_details: _Incomplete | None = None


class _Event(Struct):
    type: str = ""
    item_id: str = ""
    output_index: int = 0
    delta: str | None = None
    arguments: str | None = None
    item: dict[str, Any] | None = None
    response: _Response | None = None
    error: Any = None
    message: str | None = None
    code: str | None = None


_event = msgspec.json.Decoder(_Event).decode
_response = msgspec.json.Decoder(_Response).decode


class _Item:
    """An item whose pieces are still arriving."""

    __slots__ = ("arguments", "members", "place", "text", "whole")

    def __init__(self, place: int, members: dict[str, Any]) -> None:
        self.place = place
        self.members = members
        self.text: list[str] = []
        self.arguments: list[str] = []
        self.whole = False  # the vendor has shown all of it


class ResponsesAssembly:
    """One answer, in events or whole."""

    def __init__(self) -> None:
        self.done = False
        self.usage: Usage | None = None
        self._items: dict[str, _Item] = {}
        self._status = ""
        self._why = ""
        self._thought: list[str] = []

    def event(self, data: bytes) -> StreamChunk | None:
        if data == b"[DONE]":
            return None
        event = _event(data)
        match event.type:
            case "response.output_text.delta" | "response.refusal.delta" if event.delta:
                item = self._item(event)
                item.text.append(event.delta)
                return StreamChunk(content=event.delta) if item.members.get("phase") != COMMENTARY else None
            case "response.reasoning_summary_text.delta" if event.delta:
                self._thought.append(event.delta)
                return StreamChunk(thinking=event.delta)
            case "response.reasoning_summary_part.added" if self._thought:
                self._thought.append("\n\n")
                return StreamChunk(thinking="\n\n")
            case "response.function_call_arguments.delta" if event.delta:
                self._item(event).arguments.append(event.delta)
            case "response.function_call_arguments.done" if event.arguments is not None:
                self._item(event).arguments[:] = [event.arguments]
            case "response.output_item.added" | "response.output_item.done" if event.item is not None:
                self._show(event.output_index, event.item, whole=event.type.endswith("done"))
            case "response.completed" | "response.incomplete" | "response.failed" if event.response is not None:
                self._end(event.response)
            case "error":
                raise inner_refusal(event.error or {"message": event.message or "", "code": event.code or ""})
        return None

    def whole(self, body: bytes) -> StreamChunk | None:
        self._end(_response(body))
        content, thinking = self._content(), self._thinking()
        return StreamChunk(content=content, thinking=thinking) if content or thinking else None

    def answer(self) -> ChatResponse | ProviderError:
        if not self.done:
            return interrupted()
        items = self._ordered()
        calls = tuple(
            tool_call(str(item.members.get("call_id") or id), str(item.members["name"]), _arguments(item))
            for id, item in items
            if item.members.get("type") == "function_call" and item.members.get("name")
        )
        content, thinking = self._content(), self._thinking()
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

    def _item(self, event: _Event) -> _Item:
        """The item an event is about; one whose start was lost begins with it."""
        item = self._items.get(event.item_id)
        return item if item is not None else self._open(event.item_id, event.output_index, {})

    def _show(self, place: int, members: dict[str, Any], *, whole: bool) -> None:
        id = str(members.get("id") or f"item_{place}")
        item = self._items.get(id) or self._open(id, place, members)
        item.members, item.whole = members, whole

    def _open(self, id: str, place: int, members: dict[str, Any]) -> _Item:
        if len(self._items) >= ITEMS:
            raise ProviderError("server_error", f"more than {ITEMS} items in one answer")
        item = self._items[id] = _Item(place, members)
        if sum(one.members.get("type") == "function_call" for one in self._items.values()) > CALLS:
            raise too_many_calls()
        return item

    def _end(self, response: _Response) -> None:
        if response.error:
            raise inner_refusal(response.error)
        self._status = response.status or ""
        self._why = (response.incomplete_details and response.incomplete_details.reason) or ""
        for place, members in enumerate(response.output or ()):
            self._show(place, members, whole=True)
        if response.usage is not None:
            self.usage = _usage(response.usage)
        self.done = True

    def _ordered(self) -> list[tuple[str, _Item]]:
        return sorted(self._items.items(), key=lambda named: named[1].place)

    def _content(self) -> str:
        return "".join(
            _text(item)
            for _, item in self._ordered()
            if item.members.get("type", "message") == "message" and item.members.get("phase") != COMMENTARY
        )

    def _thinking(self) -> str:
        if self._thought:
            return "".join(self._thought)
        parts = (part for _, item in self._ordered() for part in item.members.get("summary") or ())
        return "\n\n".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))


def _text(item: _Item) -> str:
    if item.text or not item.whole:
        return "".join(item.text)
    parts = (part for part in item.members.get("content") or () if isinstance(part, dict))
    return "".join(str(part.get("text") or part.get("refusal") or "") for part in parts)


def _arguments(item: _Item) -> str:
    said = item.members.get("arguments")
    return said if item.whole and isinstance(said, str) and said else "".join(item.arguments)


def _kept(item: _Item) -> dict[str, Any] | None:
    """The item as it is given back: a thought only if it is sealed."""
    members = item.members
    match members.get("type"):
        case "reasoning" if members.get("encrypted_content"):
            sealed = {"summary": members.get("summary") or [], "encrypted_content": members["encrypted_content"]}
            return {"type": "reasoning", "id": members.get("id"), **sealed}
        case "function_call" if members.get("name"):
            called = {"call_id": members.get("call_id"), "name": members["name"], "arguments": _arguments(item) or "{}"}
            return {"type": "function_call", **called}
        case "message" if text := _text(item):
            phase = {"phase": members["phase"]} if members.get("phase") else {}
            content = [{"type": "output_text", "text": text}]
            return {"type": "message", "role": "assistant", "content": content, **phase}
    return None


def _usage(said: _Usage) -> Usage:
    put, out = said.input_tokens_details, said.output_tokens_details
    return Usage(
        prompt_tokens=said.input_tokens or 0,
        completion_tokens=said.output_tokens or 0,
        cache_read_tokens=(put and put.cached_tokens) or 0,
        cache_write_tokens=(put and put.cache_write_tokens) or 0,
        thinking_tokens=(out and out.reasoning_tokens) or 0,
    )
