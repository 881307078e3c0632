"""What the program prints, a JSON object per line, as pieces of an answer. Contract: providers.md §7.2, events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from goclaw.domain.chat import ChatResponse, StreamChunk, Usage
from goclaw.domain.errors import ProviderError
from goclaw.domain.model import OwnTool
from goclaw.providers.reader import dollars, nested, tokens
from goclaw.providers.trouble import kind_of, one_line

TEXT = 4000  # characters kept of what a tool said
BREAK = "\n\n"  # between the texts of two messages
CALLS = 1000  # tools under way whose names are remembered
BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
LOGIN = ("please run /login", "not logged in", "invalid api key", "oauth token")
Piece = StreamChunk | OwnTool

log = structlog.get_logger()


class _Counts(Struct, frozen=True):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None


class _Message(Struct, frozen=True):
    content: Any = None


class _Event(Struct, frozen=True):
    type: str = ""
    subtype: str | None = None
    message: _Message | None = None
    result: str | None = None
    is_error: bool | None = None
    errors: list[str] | None = None
    usage: _Counts | None = None
    total_cost_usd: Any = None
    cost_usd: Any = None  # its name in older versions
    stop_reason: str | None = None


class Events:
    """Lines in, pieces out. `finish` gives the whole answer once the program has said all."""

    def __init__(self, name: str) -> None:
        self.begun = False  # the program knows the session
        self._name = name
        self._said: list[str] = []
        self._thought: list[str] = []
        self._calls: dict[str, str] = {}
        self._result: _Event | None = None

    @property
    def silent(self) -> bool:
        """Nothing was said that anybody could have seen."""
        return not self._said and not self._thought

    def feed(self, line: bytes) -> Iterator[Piece]:
        try:
            event = msgspec.json.decode(line, type=_Event)
        except BROKEN as error:
            log.debug("claude_cli.garbage", error=str(error), bytes=len(line))
            return
        if event.type in ("system", "assistant"):
            self.begun = True
        if event.type == "result":
            self._result = event
        elif event.type in ("assistant", "user") and event.message is not None:
            content = event.message.content
            for block in content if isinstance(content, list) else ():
                if (piece := self._piece(event.type, block)) is not None:
                    yield piece

    def _piece(self, speaker: str, block: Any) -> Piece | None:
        match speaker, block:
            case "assistant", {"type": "text", "text": str(text)} if text:
                text = BREAK + text if self._said else text
                self._said.append(text)
                return StreamChunk(content=text)
            case "assistant", {"type": "thinking", "thinking": str(thought)} if thought:
                self._thought.append(thought)
                return StreamChunk(thinking=thought)
            case "assistant", {"type": "tool_use", "id": str(id), "name": str(name)}:
                if len(self._calls) < CALLS:
                    self._calls[id] = name
                given = block.get("input")
                return OwnTool(
                    id=id, name=name, arguments=given if isinstance(given, dict) and not nested(given) else {}
                )
            case "user", {"type": "tool_result", "tool_use_id": str(id)}:
                name, failed = self._calls.pop(id, "tool"), block.get("is_error") is True
                return OwnTool(id=id, name=name, ended=True, is_error=failed, text=_text(block.get("content")))
        return None

    def finish(self) -> ChatResponse | None:
        """The whole answer; None if the program ended before it had one. Raises ProviderError if it failed."""
        result = self._result
        if result is None:
            return None
        content = result.result or "".join(self._said)
        if result.is_error:
            said = [text for text in (*(result.errors or ()), result.result, result.subtype) if text and text.strip()]
            raise failure(self._name, said[0] if said else "an error")
        if result.stop_reason == "refusal":
            raise ProviderError("content_policy", f"{self._name}: it refuses to answer")
        if not content and not self._thought:
            raise ProviderError("server_error", f"{self._name}: an empty answer")
        cost = result.cost_usd if result.total_cost_usd is None else result.total_cost_usd
        return ChatResponse(
            content=content,
            thinking="".join(self._thought),
            finish_reason="length" if result.stop_reason == "max_tokens" else "stop",
            usage=Usage(estimated=True) if result.usage is None else _usage(result.usage),
            vendor_cost=dollars(cost),
        )


def failure(name: str, why: str) -> ProviderError:
    """What the program said, as an error of its class."""
    login = any(words in why.lower() for words in LOGIN)
    return ProviderError("auth" if login else kind_of(500, why), one_line(f"{name}: {why}"))


def _usage(counts: _Counts) -> Usage:
    read, written = tokens(counts.cache_read_input_tokens), tokens(counts.cache_creation_input_tokens)
    return Usage(
        prompt_tokens=tokens(tokens(counts.input_tokens) + read + written),
        completion_tokens=tokens(counts.output_tokens),
        cache_read_tokens=read,
        cache_write_tokens=written,
    )


def _text(content: Any) -> str:
    """What a tool gave back: text, or blocks with some."""
    if isinstance(content, str):
        return content[:TEXT]
    blocks = content if isinstance(content, list) else []
    texts = [block["text"] for block in blocks if isinstance(block, dict) and isinstance(block.get("text"), str)]
    return "\n".join(texts)[:TEXT]
