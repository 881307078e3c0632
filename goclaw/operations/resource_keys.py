"""What a turn wants for itself while it works: declared in its text, given beside it, or guessed.

Contract: sessions-lanes-cron.md §11, nodes-autonomy.md §3.1, §3.2.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from goclaw.domain.errors import Rejected, invalid, required
from goclaw.domain.locks import LOCKING, declared, guessed, normalized
from goclaw.domain.run import RunKind
from goclaw.operations.context import Context


class Wanted(Struct, frozen=True):
    """`text` is what the model is told: without the directive."""

    text: str
    keys: tuple[str, ...] = ()
    inferred: bool = False


def wanted(ctx: Context, kind: RunKind, text: str, given: Sequence[str] = ()) -> Wanted:
    """Raises `Rejected` for keys that are too many or unfit, and for a text that is nothing but them."""
    rules = ctx.house.settings.locks
    try:
        named, rest = declared(text, rules.max_keys)
    except ValueError as error:
        raise Rejected(invalid("keys", str(error))) from None
    try:
        keys = normalized([*named, *given], rules.max_keys)
    except ValueError as error:
        raise Rejected(invalid("resource_keys", str(error))) from None
    if rest != text and not rest.strip():
        raise Rejected(required("message"))
    if keys or kind not in LOCKING or not rules.infer:
        return Wanted(rest, keys)
    guesses = guessed(rest)
    return Wanted(rest, guesses, bool(guesses))
