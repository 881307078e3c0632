"""Results and refusals as HTTP responses, in our shape and in OpenAI's. Contract: edge-http.md §0.2–0.4."""

from __future__ import annotations

import math
from typing import Any

import msgspec
from quart import Response

from goclaw.domain.budget import about_money
from goclaw.domain.errors import Err
from goclaw.domain.texts import text_of

STATUS = {
    "INVALID_REQUEST": 400,
    "UNAUTHORIZED": 401,
    "FORBIDDEN": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "FAILED_PRECONDITION": 409,
    "GONE": 410,
    "REPLAY_GAP": 410,
    "PAYLOAD_TOO_LARGE": 413,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "RESOURCE_EXHAUSTED": 429,
    "UPSTREAM_ERROR": 502,
    "UNAVAILABLE": 503,
    "AGENT_TIMEOUT": 504,
    "INTERNAL": 500,
}
CODES = {
    "idempotency_conflict": "IDEMPOTENCY_CONFLICT",
    "replay_gap": "REPLAY_GAP",
}  # by reason, where HTTP has its own
BUSY = frozenset({"mailbox_full", "capacity"})  # ours to solve, so 503 and not the caller's 429
LATER = 30  # seconds, the longest Retry-After of a 503; edge-http.md §0.3
OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
OPENAI_PATHS = ("/v1/chat/completions", "/v1/responses", "/v1/models")

encoded = msgspec.json.Encoder().encode


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return json_bytes(encoded(value), status, headers)


def json_bytes(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    if status == 204:
        return Response(b"", status, headers)
    return Response(body, status, {"Content-Type": "application/json", **(headers or {})})


def status_of(err: Err) -> int:
    reason = err.details.get("reason")
    if reason == "provider_error":
        return 502
    if reason == "response_format_failed":
        return 422
    if reason in BUSY:
        return 503
    if reason == "replay_gap":
        return 410
    if reason == "wrong_verb":
        return 405
    return STATUS.get(err.code, 500)


def refusal_response(err: Err, *, path: str, locale: str, request_id: str) -> Response:
    """The error body of the route's family, with the headers its status asks for."""
    status = status_of(err)
    text = text_of(err, locale)
    body = openai_error(err, text) if path.startswith(OPENAI_PATHS) else _native(err, text, status, request_id)
    headers = {"Content-Language": locale}
    if status == 401:
        presented = err.details.get("reason") != "unauthenticated"
        headers["WWW-Authenticate"] = 'Bearer realm="goclaw"' + (', error="invalid_token"' if presented else "")
    if status == 405:
        headers["Allow"] = str(err.details.get("allow", ""))
    if err.retry_after is not None and status in (429, 503):
        seconds = max(1, math.ceil(err.retry_after))
        headers["Retry-After"] = str(min(seconds, LATER) if status == 503 else seconds)
    return json_response(body, status, headers)


def openai_error(err: Err, text: str) -> dict[str, Any]:
    status = status_of(err)
    kind = OPENAI_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    reason = err.details.get("reason")
    named = isinstance(reason, str) and reason.isidentifier() and status != 401  # which trouble is only logged
    code = reason if named else err.code.lower()
    error = {"message": text, "type": kind, "param": err.details.get("field"), "code": code}
    if about_money(err):  # whose purse it is and when it is full again (providers.md §18)
        error["details"] = err.details
    return {"error": error}


def _native(err: Err, text: str, status: int, request_id: str) -> dict[str, Any]:
    reason = err.details.get("reason")
    code = "UPSTREAM_ERROR" if status == 502 else CODES.get(reason, err.code) if isinstance(reason, str) else err.code
    body: dict[str, Any] = {"error": text, "code": code, "request_id": request_id}
    if err.details and status != 401:  # a credential's trouble is only logged (edge-auth.md §2.2)
        body["details"] = err.details
    return body
