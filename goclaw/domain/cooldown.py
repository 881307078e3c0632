"""When a model that failed may be asked again. Contract: providers.md §9.1, §9.2.

Troubles of a key rest that key (`slot`), all others the model itself. What fails over and over opens a breaker: then
one asker may try (`probe`), and its answer decides.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from goclaw.domain.errors import ProviderTrouble

LASTS: dict[ProviderTrouble, float] = {  # seconds; providers.md §9.1
    "rate_limit": 30,
    "overloaded": 60,
    "server_error": 30,
    "timeout": 15,
    "auth": 600,
    "auth_permanent": 3600,
    "billing": 300,
    "format": 300,
    "model_not_found": 3600,
    "unknown": 30,
}
OF_A_KEY = frozenset({"auth", "rate_limit"})
NEVER = frozenset({"context_overflow", "content_policy", "cancelled"})  # says nothing about the next question
OVERLOADED_LONG = 120.0  # seconds, from the sixth in a row
SIXTH = 6
QUIET = frozenset({"rate_limit", "overloaded"})  # asking again makes it worse
ANY = -1  # the slot of what concerns the model with every key
PROBE_EVERY = 30.0  # seconds
MOST = 512  # rows; providers.md §9.2
FORGOTTEN = 86_400.0  # seconds


class Rest(Struct, frozen=True):
    """A model, or one key of it, that is left alone. Times are seconds since the epoch."""

    model: str
    slot: int
    until: float
    reason: ProviderTrouble
    failures: int  # in a row
    at: float


class Cooldowns:
    """Those of one provider. `slots`: how many keys it has."""

    def __init__(
        self, slots: int = 1, *, threshold: int = 5, open_for: float = 300.0, rows: Iterable[Rest] = ()
    ) -> None:
        self.slots = slots
        self._threshold = threshold
        self._open_for = open_for
        self._rests = {(rest.model, rest.slot): rest for rest in rows}
        self._probed: dict[str, float] = {}

    def pick(self, model: str, tried: Iterable[int], now: float) -> int | None:
        """A key to ask with now; None if the model rests, or all its keys that were not tried yet do.

        Whoever has `tried` one key goes on to the next, although the model rests for everybody else (§9.2, tier 1).
        """
        tried = set(tried)
        if not tried and self._resting(model, ANY, now):
            return None
        return next((n for n in range(self.slots) if n not in tried and not self._resting(model, n, now)), None)

    def until(self, model: str, now: float) -> Rest | None:
        """What keeps the model from being asked, the part that ends first; None if nothing does."""
        if rest := self._resting(model, ANY, now):
            return rest
        keys = [self._resting(model, slot, now) for slot in range(self.slots)]
        held = [rest for rest in keys if rest is not None]
        return min(held, key=lambda rest: rest.until) if len(held) == self.slots else None

    def probe(self, model: str, now: float) -> int | None:
        """A key to try a resting model with, because there is nobody else.

        None if the vendor asked for quiet, or the breaker is open, and somebody tried a moment ago. After any other
        trouble everybody may: a lonely model that failed once is not a reason to refuse all its users for a while.
        """
        rest = self.until(model, now)
        if rest is None or not (rest.reason in QUIET or rest.failures >= self._threshold):
            return min(range(self.slots), key=lambda slot: self._until(model, slot, now))
        if now - self._probed.get(model, float("-inf")) < PROBE_EVERY:
            return None
        self._probed[model] = now
        return min(range(self.slots), key=lambda slot: self._until(model, slot, now))

    def failed(
        self, model: str, slot: int, trouble: ProviderTrouble, now: float, retry_after: float | None = None
    ) -> Rest | None:
        """The rest that begins; None if this trouble is not the model's."""
        if trouble in NEVER:
            return None
        key = (model, slot if trouble in OF_A_KEY else ANY)
        before = self._rests.get(key)
        failures = before.failures if before and now - before.at < FORGOTTEN else 0
        failures += trouble != "format"  # what one asks wrongly, again and again, must not close it to all
        lasts = LASTS[trouble] if retry_after is None else min(retry_after, FORGOTTEN)  # the vendor knows better
        if trouble == "overloaded" and failures >= SIXTH:
            lasts = OVERLOADED_LONG
        if failures >= self._threshold:
            lasts = max(lasts, self._open_for)
        until = max(now + lasts, before.until if before else 0.0)
        rest = Rest(*key, until=until, reason=trouble, failures=failures, at=now)
        self._rests.pop(key, None)
        self._rests[key] = rest
        while len(self._rests) > MOST:
            oldest, slot = next(iter(self._rests))
            del self._rests[oldest, slot]
            self._probed.pop(oldest, None)
        return rest

    def succeeded(self, model: str, slot: int) -> list[tuple[str, int]]:
        """It answered: nothing it did before counts. Returns the keys of the rests that this ends."""
        ended = [key for key in ((model, slot), (model, ANY)) if self._rests.pop(key, None) is not None]
        if ended:
            self._probed.pop(model, None)
        return ended

    def rows(self, now: float) -> list[Rest]:
        """What rests now."""
        return [rest for rest in self._rests.values() if rest.until > now]

    def _resting(self, model: str, slot: int, now: float) -> Rest | None:
        rest = self._rests.get((model, slot))
        return rest if rest is not None and rest.until > now else None

    def _until(self, model: str, slot: int, now: float) -> float:
        rest = self._resting(model, slot, now)
        return rest.until if rest else 0.0
