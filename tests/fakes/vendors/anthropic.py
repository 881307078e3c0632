"""Anthropic Messages: `POST /v1/messages` and `GET /v1/models`, as the vendor's documentation and SDK describe them."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from itertools import chain, count, zip_longest
from typing import Any

from tests.fakes.vendors import anthropic_rules as rules
from tests.fakes.vendors import anthropic_thoughts as thoughts
from tests.fakes.vendors.brain import Ask, Tool, encode
from tests.fakes.vendors.script import Answer, Call, Part, Redacted, Refuse, Say, Think, cut, pieces, tokens
from tests.fakes.vendors.vendor import BAD_KEY, Heard, Vendor, Wire, sse

VERSIONS = ("2023-06-01", "2026-10-21")  # the later one knows no sampling parameters
ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "invalid_request_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
STOPS = {
    "stop": "end_turn",
    "calls": "tool_use",
    "length": "max_tokens",
    "filter": "refusal",
    "overflow": "model_context_window_exceeded",
}
MODELS = (
    ("claude-opus-5-5", "Claude Opus 5.5"),
    ("claude-sonnet-5-5", "Claude Sonnet 5.5"),
    ("claude-haiku-5-5", "Claude Haiku 5.5"),
    ("claude-opus-4-6", "Claude Opus 4.6"),
    ("claude-sonnet-4-6", "Claude Sonnet 4.6"),
    ("claude-haiku-4-5-20251001", "Claude Haiku 4.5"),
    ("claude-sonnet-4-5-20250929", "Claude Sonnet 4.5"),
)
CACHEABLE = 1024  # tokens; shorter prefixes are not cached


class Messages(Wire):
    def __init__(self) -> None:
        self._numbers = count(1)
        self._cache: OrderedDict[bytes, None] = OrderedDict()  # prefixes written so far

    def admit(self, heard: Heard) -> None:
        key = heard.headers.get("x-api-key", "") or heard.key
        if not key:
            raise Refuse(401, "x-api-key header is required")
        if key == BAD_KEY:
            raise Refuse(401, "invalid x-api-key")
        if "anthropic-version" not in heard.headers:
            raise Refuse(400, "anthropic-version: header is required")
        if heard.headers["anthropic-version"] not in VERSIONS:
            raise Refuse(400, f'anthropic-version: "{heard.headers["anthropic-version"]}" is not a valid version')

    def ask(self, heard: Heard, found: re.Match[str]) -> Ask:
        body = heard.body
        rules.check(body, sampling=heard.headers["anthropic-version"] == VERSIONS[0])
        turn = rules.merged(body["messages"])[-1]
        results = [text_of(block.get("content", "")) for block in turn[1] if block["type"] == "tool_result"]
        spoken = any(block["type"] == "text" for block in turn[1])  # after the results, so it is what is answered
        return Ask(
            model=body["model"],
            stream=bool(body.get("stream")),
            text=last_text(body["messages"]),
            results=() if spoken else tuple(results),
            tools=tuple(Tool(tool["name"], tool.get("input_schema", {})) for tool in body.get("tools", ())),
            thinks=thoughts.thinks(body),
            size=tokens(heard.raw.decode()),
            body=body,
        )

    def message(self, said: Answer, ask: Ask) -> dict[str, Any]:
        return {
            "id": f"msg_01{next(self._numbers):022d}",
            "type": "message",
            "role": "assistant",
            "model": ask.model,
            "content": self.blocks(said, ask),
            "stop_reason": STOPS[said.ends],
            "stop_sequence": None,
            "usage": self.usage(said, ask),
        }

    def blocks(self, said: Answer, ask: Ask) -> list[dict[str, Any]]:
        out: list[dict[str, Any]] = []
        turns = rules.merged(ask.body["messages"])
        for part in said.parts:
            out.append(self.block(part, ask, thoughts.prefix(ask.body, turns, out)))
        return out

    def block(self, part: Part, ask: Ask, before: str) -> dict[str, Any]:
        match part:
            case Say(text):
                return {"type": "text", "text": text}
            case Think(text):
                shown = "" if thoughts.omits(ask.body) else text
                return {"type": "thinking", "thinking": shown, "signature": thoughts.seal(ask.model, shown, before)}
            case Redacted(text):
                return {"type": "redacted_thinking", "data": thoughts.seal(ask.model, text, before)}
            case Call(name, arguments, id):
                return {
                    "type": "tool_use",
                    "id": id or f"toolu_01{next(self._numbers):022d}",
                    "name": name,
                    "input": arguments if isinstance(arguments, dict) else {},
                }

    def usage(self, said: Answer, ask: Ask) -> dict[str, Any]:
        given = said.usage
        read, written = self._cached(ask)
        read = given.cache_read if given.cache_read is not None else read
        written = given.cache_write if given.cache_write is not None else written
        whole = given.input if given.input is not None else max(ask.size, read + written + 1)
        spoken = said.text + said.thought + "".join(str(call.arguments) for call in said.calls)
        return {
            "input_tokens": whole - read - written,
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": read,
            "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
            "output_tokens": given.output if given.output is not None else max(1, tokens(spoken)),
            "service_tier": "standard",
        }

    def _cached(self, ask: Ask) -> tuple[int, int]:
        """Tokens read from and written to the cache by this request."""
        read = written = 0
        for prefix in rules.prefixes(ask.body):
            size = tokens(prefix.decode())
            if size < CACHEABLE:
                continue
            digest = hashlib.sha256(ask.model.encode() + prefix).digest()
            if digest in self._cache:
                read = size
            written = size - read
            self._cache[digest] = None
            if len(self._cache) > 1000:
                self._cache.popitem(last=False)
        return read, written

    def whole(self, said: Answer, ask: Ask) -> Any:
        return self.message(said, ask)

    def events(self, said: Answer, ask: Ask) -> list[bytes]:
        final = self.message(said, ask)
        start = {**final, "content": [], "stop_reason": None, "usage": {**final["usage"], "output_tokens": 1}}
        blocks = [self._streamed(n, part, final["content"][n]) for n, part in enumerate(said.parts)]
        out = [sse({"type": "message_start", "message": start}, "message_start")]
        if said.interleave:
            out += [event for turn in zip_longest(*blocks) for event in turn if event is not None]
        else:
            out += chain.from_iterable(blocks)
        out.insert(2, sse({"type": "ping"}, "ping"))
        delta = {"stop_reason": final["stop_reason"], "stop_sequence": None}
        spent = {"output_tokens": final["usage"]["output_tokens"]}
        out.append(sse({"type": "message_delta", "delta": delta, "usage": spent}, "message_delta"))
        return [*out, sse({"type": "message_stop"}, "message_stop")]

    def _streamed(self, index: int, part: Part, block: dict[str, Any]) -> list[bytes]:
        """The events of one block: it opens empty, is filled, and closes."""
        deltas: list[dict[str, Any]] = []
        opening = block
        match part:
            case Say(text):
                opening = {**block, "text": ""}
                deltas = [{"type": "text_delta", "text": piece} for piece in pieces(text)]
            case Think(signed_in=parts):
                opening = {**block, "thinking": "", "signature": ""}
                if block["thinking"]:
                    deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
                deltas += [{"type": "signature_delta", "signature": part} for part in cut(block["signature"], parts)]
            case Call(arguments=arguments):
                opening = {**block, "input": {}}
                text = arguments if isinstance(arguments, str) else encode(arguments).decode()
                written = ["", *cut(text, 2)] if text != "{}" else [""]
                deltas = [{"type": "input_json_delta", "partial_json": half} for half in written]
        return [
            sse({"type": "content_block_start", "index": index, "content_block": opening}, "content_block_start"),
            *(
                sse({"type": "content_block_delta", "index": index, "delta": delta}, "content_block_delta")
                for delta in deltas
            ),
            sse({"type": "content_block_stop", "index": index}, "content_block_stop"),
        ]

    def failed(self, ask: Ask, message: str, sent: int) -> bytes:
        kind = "overloaded_error" if "overloaded" in message.lower() else "api_error"
        return sse({"type": "error", "error": {"type": kind, "message": message}}, "error")

    def refusal(self, no: Refuse) -> Any:
        kind = no.kind or ERRORS.get(no.status, "api_error")
        error = {"type": kind, "message": no.message, **no.more}
        return {"type": "error", "error": error, "request_id": f"req_01{next(self._numbers):022d}"}

    def headers(self) -> dict[str, str]:
        return {"request-id": f"req_01{next(self._numbers):022d}"}


def text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(block.get("text", "") for block in content)


def last_text(messages: list[Any]) -> str:
    """Of the last user message that says something itself."""
    for message in reversed(messages):
        if message["role"] == "user":
            text = "".join(block["text"] for block in rules.blocks_of(message) if block["type"] == "text")
            if text:
                return text
    return ""


def models(heard: Heard, found: re.Match[str]) -> Any:
    """A page of the list: `limit`, `after_id`, `before_id`."""
    names = [name for name, _ in MODELS]
    limit = int(heard.query.get("limit", 20))
    if not 1 <= limit <= 1000:
        raise Refuse(400, "limit: must be between 1 and 1000")
    start, stop = 0, len(names)
    try:
        if after := heard.query.get("after_id"):
            start = names.index(after) + 1
        if before := heard.query.get("before_id"):
            stop = names.index(before)
            start = max(0, stop - limit)
    except ValueError:
        raise Refuse(400, "after_id: invalid cursor") from None
    rows = [
        {
            "type": "model",
            "id": name,
            "display_name": title,
            "created_at": "2025-09-29T00:00:00Z",
            "lifecycle": "active",
            "max_input_tokens": 1_000_000 if thoughts.generation(name) >= (4, 6) else 200_000,
            "max_tokens": rules.longest(name),
        }
        for name, title in MODELS[start:stop][:limit]
    ]
    more = start > 0 if "before_id" in heard.query else start + len(rows) < stop
    ends = [rows[0]["id"], rows[-1]["id"]] if rows else [None, None]
    return {"data": rows, "has_more": more, "first_id": ends[0], "last_id": ends[1]}


def model(heard: Heard, found: re.Match[str]) -> Any:
    for name, title in MODELS:
        if name == found["id"]:
            return {"type": "model", "id": name, "display_name": title, "created_at": "2025-09-29T00:00:00Z"}
    raise Refuse(404, f"model: {found['id']}")


def anthropic() -> Vendor:
    routes = {
        "POST /v1/messages": Messages(),
        "GET /v1/models": models,
        "GET /v1/models/(?P<id>[^/]+)": model,
    }
    return Vendor("anthropic", "/v1", routes)
