"""Whether a run that failed is tried again, and when. Contract: durability.md §6, sessions-lanes-cron.md §9.3."""

from __future__ import annotations

import hashlib
import re
from typing import Literal

from msgspec import Struct

from goclaw.domain.run import INTERACTIVE, RunKind

CHARS = 512  # of a message that tell errors apart
VARIES = re.compile(
    r"""
    "[^"]*"|'[^']*'                     # what is quoted
    | (?:/[\w.@+-]+){2,}                # paths
    | \b[0-9a-f]{8}-[0-9a-f-]{27}\b     # ids
    | \b(?=[0-9a-f]*\d)[0-9a-f]{6,}\b   # hexadecimal
    | \d+
    """,
    re.VERBOSE,
)


LINEAR = 2.0  # seconds for each failed attempt of a subagent; orchestration.md §3.2


class Again(Struct, frozen=True):
    """In so many seconds."""

    delay: float


class Over(Struct, frozen=True):
    """Never. `dead` says why not even an operator should wait for it: it is a dead letter."""

    dead: Literal["DEAD_LETTER_POISON_PILL", "DEAD_LETTER_MAX_ATTEMPTS"] | None = None


class Rules(Struct, frozen=True, kw_only=True):
    base: float = 1.0  # seconds before the second attempt, doubled for each that follows …
    cap: float = 30.0  # … up to so many
    poison: int = 3  # equal errors in a row
    interactive: float = 120.0  # seconds after acceptance in which somebody still sits there


def fingerprint(error: str, message: str) -> str:
    """The same for errors that differ in nothing but names, numbers and places."""
    plain = VARIES.sub("#", f"{error} {message}".lower())[:CHARS]
    return hashlib.sha256(plain.encode()).hexdigest()


def delay(run_id: str, attempt: int, rules: Rules) -> float:
    """Seconds after failed attempt `attempt`: doubling, with up to half as much again that the run's id decides."""
    plain = rules.base * 2.0 ** min(attempt - 1, 30)
    chance = int.from_bytes(hashlib.sha256(f"{run_id} {attempt}".encode()).digest()[:4]) / 2**32
    return min(rules.cap, plain * (1 + chance / 2))


def verdict(
    *, run_id: str, kind: RunKind, attempt: int, max_attempts: int, age: float, alike: int, rules: Rules
) -> Again | Over:
    """What becomes of a run whose attempt number `attempt` failed with an error that may pass.

    `alike`: how often in a row it was this error. `age`: seconds since the run was accepted.
    """
    if alike >= rules.poison:
        return Over("DEAD_LETTER_POISON_PILL")
    if attempt >= max_attempts:
        return Over("DEAD_LETTER_MAX_ATTEMPTS" if max_attempts > 1 else None)
    pause = LINEAR * attempt if kind == "subagent" else delay(run_id, attempt, rules)
    if kind in INTERACTIVE and age + pause > rules.interactive:
        return Over()
    return Again(pause)
