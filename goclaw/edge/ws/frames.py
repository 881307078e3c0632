"""Frames of protocol v3: what comes in is judged, what goes out is written. Contract: edge-websocket.md §2."""

from __future__ import annotations

from typing import Any

import msgspec

from goclaw.domain.errors import Err, Rejected, invalid, malformed, required, wrong_type
from goclaw.domain.texts import text_of

NESTING = 64  # levels of JSON, the frame itself being one; edge-websocket.md §1.1
ID_CHARS = 128
METHOD_CHARS = 128  # no method has a longer name, and refusals repeat it

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Request(msgspec.Struct, frozen=True):
    id: str | int
    method: str
    params: dict[str, Any]


class BadFrame(Rejected):
    """A frame that is no request. `id` is the request's when it could be read, else empty."""

    def __init__(self, err: Err, id: str | int = "") -> None:
        super().__init__(err)
        self.id = id


def parse(text: str) -> Request:
    """A request frame. Raises `BadFrame` with the id to answer to."""
    try:
        frame = _decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise BadFrame(malformed("frame")) from None
    if not isinstance(frame, dict):
        raise BadFrame(malformed("frame"))
    if frame.get("type") != "req":
        raise BadFrame(invalid("type", "unexpected frame type"))
    id, method, params = frame.get("id"), frame.get("method"), frame.get("params")
    if isinstance(id, bool) or not isinstance(id, str | int) or not 0 < len(str(id)) <= ID_CHARS:
        raise BadFrame(invalid("id", f"text or a whole number of 1 to {ID_CHARS} characters"))
    if deeper_than(frame, NESTING):
        raise BadFrame(invalid("params", f"nested deeper than {NESTING} levels"), id)
    if method is None or method == "":
        raise BadFrame(required("method"), id)
    if not isinstance(method, str):
        raise BadFrame(wrong_type("method", "str"), id)
    if len(method) > METHOD_CHARS:
        raise BadFrame(invalid("method", f"longer than {METHOD_CHARS} characters"), id)
    if not isinstance(params, dict | None):
        raise BadFrame(wrong_type("params", "object"), id)
    return Request(id, method, params or {})


def response(id: str | int, payload: Any) -> str:
    return _encode({"type": "res", "id": id, "ok": True, "payload": payload}).decode()


def refusal(id: str | int, err: Err, locale: str) -> str:
    error: dict[str, Any] = {"code": err.code, "message": text_of(err, locale)}
    if err.details:
        error["details"] = err.details
    if err.retryable:
        error["retryable"] = True
        if err.retry_after is not None:
            error["retryAfterMs"] = int(err.retry_after * 1000)
    return _encode({"type": "res", "id": id, "ok": False, "error": error}).decode()


def event(name: str, payload: Any, seq: int, **more: Any) -> str:
    return _encode({"type": "event", "event": name, "payload": payload, "seq": seq, **more}).decode()


def deeper_than(value: Any, levels: int) -> bool:
    """Whether containers nest deeper than `levels`. Walks without recursion."""
    layer = [value]
    for _ in range(levels):
        layer = [
            inner
            for item in layer
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
        if not layer:
            return False
    return any(isinstance(item, dict | list) for item in layer)
