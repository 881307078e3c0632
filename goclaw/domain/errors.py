"""Every named refusal and failure of the product, and the family each belongs to.

`Err` values travel to clients; the edges map codes to statuses and keys to texts (`texts.py`).
Codes: edge-websocket.md §3. Reasons in `details` are machine data and stay in English.
"""

from __future__ import annotations

from typing import Any, Literal

from goclaw.runtime.faults import Err, Rejected

__all__ = ["Err", "ProviderError", "Rejected", "StartupFatal", "StoreError"]

ProviderTrouble = Literal[  # providers.md §9.1
    "rate_limit",
    "overloaded",
    "server_error",  # also an unreachable vendor, a broken stream, an answer that is none
    "timeout",
    "auth",
    "auth_permanent",
    "billing",
    "format",
    "model_not_found",
    "content_policy",
    "context_overflow",
    "cancelled",  # by the one who was asked
    "unknown",
]
StoreTrouble = Literal["unavailable", "conflict", "commit_unknown"]


UNFIT = "response_format_failed:"  # how the message of an answer begins that does not fit what was asked for


class ProviderError(Exception):
    """A vendor failed. `message` is safe to show: no key, no body of more than a line."""

    def __init__(
        self, kind: ProviderTrouble, message: str, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.status = status
        self.retry_after = retry_after  # seconds

    @property
    def retryable(self) -> bool:
        return self.kind in ("rate_limit", "overloaded", "server_error", "timeout")


class StoreError(Exception):
    """Database weather. `commit_unknown` means the transaction may or may not have happened: read again."""

    def __init__(self, kind: StoreTrouble, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class StartupFatal(Exception):
    """The gateway cannot start. One sentence, one hint, one exit code (config-cli.md §10).

    `reason` is the contract's code, such as E_BIND; exit codes are 1, 71 (schema) and 72 (database).
    """

    def __init__(self, reason: str, detail: str, hint: str = "", exit_code: int = 1) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.hint = hint
        self.exit_code = exit_code


def invalid(field: str, reason: str, **more: Any) -> Err:
    return Err("INVALID_REQUEST", "invalid", {"field": field, "reason": reason, **more})


def wrong_type(field: str, expected: str) -> Err:
    return Err("INVALID_REQUEST", "wrong_type", {"reason": "type", "field": field, "expected": expected})


def required(field: str) -> Err:
    return Err("INVALID_REQUEST", "required", {"reason": "required", "field": field})


def ambiguous(field: str) -> Err:
    return Err("INVALID_REQUEST", "ambiguous_param", {"reason": "ambiguous_param", "field": field})


def malformed(what: str) -> Err:
    return Err("INVALID_REQUEST", "malformed", {"reason": "malformed", "what": what})


def unknown_method(method: str) -> Err:
    return Err("INVALID_REQUEST", "unknown_method", {"reason": "unknown_method", "method": method})


def unauthorized(reason: str) -> Err:
    """`reason` is unauthenticated, bad_credential, expired or revoked and nothing else (edge-websocket.md §3)."""
    return Err("UNAUTHORIZED", "unauthorized", {"reason": reason})


def connect_first() -> Err:
    return Err("UNAUTHORIZED", "connect_first", {"reason": "unauthenticated"})


def role_too_low(action: str, role: str) -> Err:
    return Err("FORBIDDEN", "role_too_low", {"reason": "role", "required": role, "action": action})


def forbidden(reason: str, **more: Any) -> Err:
    return Err("FORBIDDEN", "permission_denied", {"reason": reason, **more})


def hook_commands_off(needs: str) -> Err:
    """`needs` is what would have to be set for hooks that run commands."""
    return Err("FORBIDDEN", "hook_commands_off", {"reason": "hook_command", "needs": needs})


def not_found(kind: str, id: str) -> Err:
    return Err("NOT_FOUND", "not_found", {"kind": kind, "id": id})


def approval_gone(id: str) -> Err:
    """There is none of that name, or somebody was first."""
    return Err("NOT_FOUND", "approval_gone", {"kind": "approval", "id": id})


def approvals_off() -> Err:
    return Err("FAILED_PRECONDITION", "approvals_off", {"reason": "approvals_off"})


def command_denied(group: str) -> Err:
    """A command that no agent could run, whatever its arguments."""
    return Err("INVALID_REQUEST", "command_denied", {"reason": "command_denied", "field": "command", "group": group})


def already_exists(kind: str, id: str) -> Err:
    return Err("ALREADY_EXISTS", "already_exists", {"kind": kind, "id": id})


def provider_in_use(name: str, agents: list[str]) -> Err:
    details = {"reason": "in_use", "kind": "provider", "id": name, "agents": agents}
    return Err("ALREADY_EXISTS", "provider_in_use", details)


def gone(kind: str, id: str, **more: Any) -> Err:
    """It was there, and has ended."""
    return Err("GONE", "gone", {"kind": kind, "id": id, **more})


def failed_precondition(reason: str, **more: Any) -> Err:
    return Err("FAILED_PRECONDITION", "failed_precondition", {"reason": reason, **more})


def exhausted(reason: str, retry_after: float | None = None, **more: Any) -> Err:
    return Err("RESOURCE_EXHAUSTED", "resource_exhausted", {"reason": reason, **more}, True, retry_after)


def too_large(limit_bytes: int) -> Err:
    return Err("PAYLOAD_TOO_LARGE", "payload_too_large", {"reason": "too_large", "limit_bytes": limit_bytes})


def unavailable(reason: str, retry_after: float = 1.0, **more: Any) -> Err:
    return Err("UNAVAILABLE", "unavailable", {"reason": reason, **more}, True, retry_after)


def agent_rests(status: str) -> Err:
    """Only active agents answer (agent-loop.md §19.1)."""
    details = {"reason": f"agent_{status}", "status": status}
    return Err("UNAVAILABLE", "agent_rests", details, status == "summoning", 5.0 if status == "summoning" else None)


def provider_failed(error: ProviderError) -> Err:
    if error.kind == "format" and error.message.startswith(UNFIT):
        wrong = error.message.removeprefix(UNFIT).strip()
        return Err(
            "FAILED_PRECONDITION", "response_format_failed", {"reason": "response_format_failed", "errors": wrong}
        )
    details = {"reason": "provider_error", "kind": error.kind, "message": error.message}
    after = error.retry_after
    match error.kind:  # a sentence without details, which are for the trace (agent-loop.md §14)
        case "overloaded" | "server_error":
            return Err("UNAVAILABLE", "provider_down", details, error.retryable, after)
        case "rate_limit":
            return Err("UNAVAILABLE", "provider_rate_limited", details, error.retryable, after)
        case "timeout":
            return Err("UNAVAILABLE", "provider_timeout", details, error.retryable, after)
        case "auth" | "auth_permanent":
            return Err("UNAVAILABLE", "provider_key_rejected", details, error.retryable, after)
        case "billing":
            return Err("UNAVAILABLE", "provider_billing", details, error.retryable, after)
        case "content_policy":
            return Err("UNAVAILABLE", "provider_refused", details, error.retryable, after)
        case "context_overflow":
            return Err("UNAVAILABLE", "provider_too_long", details, error.retryable, after)
        case _:  # what its administrator can mend
            return Err("UNAVAILABLE", "provider_failed", details, error.retryable, after)


def agent_timeout(seconds: float) -> Err:
    return Err("AGENT_TIMEOUT", "agent_timeout", {"reason": "timeout", "seconds": seconds}, True)


def internal(error_id: str) -> Err:
    return Err("INTERNAL", "internal", {"errorId": error_id}, True)
