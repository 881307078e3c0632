"""Why a run did not reach its answer, and what is said of that. Contract: durability.md §6; agent-loop.md §14."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from goclaw.domain.budget import about_money
from goclaw.domain.errors import Err, ProviderError, Rejected, StoreError, provider_failed, unavailable
from goclaw.domain.events import body
from goclaw.domain.texts import text_of
from goclaw.runtime.faults import RuntimeFault
from goclaw.tools.ledger import LedgerConflict

PROVIDERS = {"FAILED_PROVIDER", "FAILED_AUTH", "FAILED_BILLING"}


class Trouble(Struct, frozen=True):
    """Why a run did not reach its answer."""

    err: Err
    reason: str
    kind: str  # of the error, and what it says: equal ones are poison
    message: str
    again: str = ""  # the reason to try again, if that may help

    @property
    def told(self) -> str:
        """What a model may read of it: what the house says of itself stays in the log."""
        return self.message if self.reason in PROVIDERS else text_of(self.err, "en")


def trouble_of(error: Exception) -> Trouble:
    """What an error means for a run; an `OSError` is a workspace that cannot be made or read."""
    match error:
        case ProviderError():
            retry = "RETRY_PROVIDER" if error.retryable else ""
            too_long = "context overflow after compaction: " if error.kind == "context_overflow" else ""
            return Trouble(provider_failed(error), _reason(error), error.kind, too_long + error.message, retry)
        case Rejected():
            reason = "FAILED_QUOTA" if about_money(error.err) else "FAILED_INPUT"
            return Trouble(error.err, reason, error.err.code, str(error.err.details))
        case StoreError() | RuntimeFault():
            return Trouble(unavailable("store"), "FAILED_STORE", type(error).__name__, str(error), "RETRY_STORE")
        case LedgerConflict():
            return Trouble(unavailable("ledger_conflict"), "FAILED_LEDGER_CONFLICT", "ledger", str(error))
        case _:
            return Trouble(unavailable("workspace"), "FAILED_INTERNAL", "OSError", str(error))


def failure(err: Err, partial: str, locale: str = "en") -> Any:
    """The payload of run.failed, in the language of who asked."""
    members: dict[str, Any] = {
        "error": text_of(err, locale),
        "code": err.code,
        "reason": err.details.get("reason"),
        "retryable": err.retryable,
    }
    if partial:
        members["partial"] = partial
    return body(**members)


def _reason(error: ProviderError) -> str:
    match error.kind:
        case "auth" | "auth_permanent":
            return "FAILED_AUTH"
        case "billing":
            return "FAILED_BILLING"
        case _:
            return "FAILED_PROVIDER"
