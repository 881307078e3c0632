"""What a vendor's refusal means, and how long to wait before asking again. Contract: providers.md §8, §9.1, §14."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from goclaw.domain.errors import ProviderError, ProviderTrouble

PREVIEW = 200  # characters of a foreign page; providers.md §14
LINE = 300  # characters of a message
SECRETS = re.compile(r"\b(?:sk|pk|gsk|xai)[-_][\w*.-]{4,}|\bBearer\s+\S+", re.IGNORECASE)

# First match wins, in the order of providers.md §9.1; a refusal that no text explains goes by its status.
TEXTS: tuple[tuple[ProviderTrouble, re.Pattern[str]], ...] = (
    (
        "context_overflow",
        re.compile(
            r"context.{0,3}length|maximum context|context limit|token limit|too many tokens|prompt is too long"
            r"|request_too_large|exceed_context_size|model_context_window_exceeded|上下文(?:长度|超)|超出.{0,8}(?:长度|限制)"
        ),
    ),
    ("billing", re.compile(r"insufficient.{0,3}(?:credit|balance|quota|funds)|billing(?! details)|余额不足")),
    (
        "auth_permanent",
        re.compile(r"key.{0,20}(?:revoked|disabled|deactivated)|account.{0,20}(?:disabled|deactivated)"),
    ),
    ("auth", re.compile(r"invalid.{0,3}(?:api.{0,3}key|token)|incorrect api key|unauthori[sz]ed")),
    ("model_not_found", re.compile(r"model.{0,60}(?:not found|does not exist)|model_not_found")),
    ("rate_limit", re.compile(r"rate.?limit|too many requests|quota per minute")),
    ("overloaded", re.compile(r"overloaded|at capacity|temporarily unavailable")),
    ("content_policy", re.compile(r"content_policy|content.?filter|safety system")),
)
FLAGGED = re.compile(r"input was flagged|requires moderation")  # of a 403 that is about the question, not the key


class CallUnwritten(ProviderError):
    """The vendor could not make a call of what its model wrote, and shows it (Groq; providers.md §6)."""

    written = ""


def one_line(text: str, limit: int = LINE) -> str:
    """`text` in one line of at most `limit` characters, without anything that looks like a key."""
    flat = " ".join(SECRETS.sub("***", text[: limit * 8]).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def kind_of(status: int, text: str) -> ProviderTrouble:
    """The family of a refusal. `status` 0 means the refusal came inside an answer."""
    lowered = text[:4096].lower()
    if status not in (401, 403):  # what such a page says is about the key, whatever its words
        for kind, pattern in TEXTS:
            if pattern.search(lowered) and not (status == 429 and kind == "context_overflow"):  # too many in a minute
                return kind
    match status:
        case 400 | 422:
            return "format"
        case 401:
            return "auth"
        case 402:
            return "billing"
        case 403:
            return "content_policy" if FLAGGED.search(lowered) else "auth_permanent"
        case 404:
            return "model_not_found"
        case 408 | 504:
            return "timeout"
        case 413:
            return "context_overflow"
        case 429:
            return "rate_limit"
        case 529:
            return "overloaded"
        case 0:
            return "server_error"
        case _ if status >= 500:
            return "server_error"
    return "unknown"


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """An HTTP answer that is not 200, as an error. `headers` are read by lower-case name."""
    if 300 <= status < 400:
        host = re.sub(r"^\w+://([^/?#]*).*", r"\1", headers.get("location", "")).rpartition("@")[2]
        return ProviderError("format", one_line(f"API error ({status}): redirected to {host}"), status=status)
    wait = retry_after(headers.get("retry-after", ""))
    try:
        error = msgspec.json.decode(body)
        said = explanation(error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        page = body.decode("utf-8", "replace")
        message = foreign_page(status, headers.get("content-type", ""), page)
        return ProviderError(kind_of(status, ""), message, status=status, retry_after=wait)
    return blamed(error, kind_of(status, said), f"API error ({status}): {said}", status, wait)


def inner_refusal(error: Any) -> ProviderError:
    """The `error` member of an answer that came with HTTP 200."""
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, str):
        code = int(code) if re.fullmatch(r"[45][0-9]{2}", code) else 0
    status = code if isinstance(code, int) and 400 <= code < 600 else 0
    said = explanation({"error": error})
    return blamed({"error": error}, kind_of(status, said), f"API error: {said}", status or None)


def blamed(body: Any, kind: ProviderTrouble, said: str, status: int | None, wait: float | None = None) -> ProviderError:
    match body:
        case {"error": {"code": "tool_use_failed", "failed_generation": str(written)}}:
            unwritten = CallUnwritten(kind, one_line(said), status=status, retry_after=wait)
            unwritten.written = written
            return unwritten
    return ProviderError(kind, one_line(said), status=status, retry_after=wait)


def foreign_page(status: int, content_type: str, page: str) -> str:
    """The message for a body that is not JSON: a proxy's page, usually."""
    text = re.sub(r"<[^<>]*>", " ", page[: PREVIEW * 20])
    kind = content_type.partition(";")[0].strip() or "no content type"
    return f"API error ({status}, {one_line(kind, 60)}): non-JSON response: {one_line(text, PREVIEW)}"


def explanation(body: Any) -> str:
    """The vendor's own words, in whichever of the usual places they are; message first, then type and code."""
    if isinstance(body, list) and len(body) == 1:  # as Gemini does
        body = body[0]
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        words = [_without_input(error.get(name)) for name in ("message", "detail", "type", "code")]
        for place, word in enumerate(words[:2]):
            if isinstance(word, dict | list):  # one field after the other
                words[place] = msgspec.json.encode(word)[:LINE].decode("utf-8", "replace")
        if said := " · ".join(word for word in words if isinstance(word, str) and word):
            return said
    return error if isinstance(error, str) else msgspec.json.encode(error)[:LINE].decode("utf-8", "replace")


def _without_input(said: Any) -> Any:
    """A list of what is wrong with each field, without the field: it holds what somebody said."""
    if not isinstance(said, list):
        return said
    return [{name: one[name] for name in one if name != "input"} if isinstance(one, dict) else one for one in said]


def retry_after(header: str) -> float | None:
    """Seconds until the vendor wants to be asked again, from seconds or an HTTP date; None if it did not say."""
    try:
        return max(0.0, float(header)) if float(header) < 1e6 else None
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None
