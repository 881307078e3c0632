"""How many tools a session may call in an hour, and an agent for one user, so that hopping sessions does not help.

Address   /engine/policy/rates
Contract  tools.md §7. Counts live in memory: a restart forgets them.
"""

from __future__ import annotations

from collections import OrderedDict

from pyrate_limiter import InMemoryBucket, Rate, RateItem

from goclaw.domain.rates import TakeCall, TooMany
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.settings.tools import Tools

HOUR = 3_600_000  # milliseconds
REMEMBERED = 20_000  # sessions and users; the one that called longest ago is forgotten first
HOPPING = 4  # times the limit of a session is that of a user


class Rates(Actor):
    capacity = 4096
    responsive = True

    def __init__(self, settings: Tools) -> None:
        each = settings.rate_limit_per_hour
        user = settings.rate_limit_per_hour_user
        self.limits = {"session": each, "user": each * HOPPING if user is None else user}
        self.buckets: OrderedDict[str, InMemoryBucket] = OrderedDict()

    @handles
    async def take(self, ctx: Context, ask: TakeCall) -> TooMany | None:
        """A refused call takes nothing, from neither."""
        now = int(ctx.clock.monotonic() * 1000)
        wanted = [(f"session:{ask.session}", self.limits["session"]), (f"user:{ask.payer}", self.limits["user"])]
        taken = [(self._bucket(key, limit, now), limit) for key, limit in wanted if limit]
        for bucket, limit in taken:
            if bucket.count() >= limit:
                oldest = bucket.peek(bucket.count() - 1)
                waits = (oldest.timestamp + HOUR - now) / 1000 if oldest is not None else HOUR / 1000
                return TooMany(limit=limit, wait=max(1.0, waits))
        for bucket, _ in taken:
            bucket.put(RateItem("call", now))
        return None

    def _bucket(self, key: str, limit: int, now: int) -> InMemoryBucket:
        """Of the calls of the last hour."""
        bucket = self.buckets.pop(key, None) or InMemoryBucket([Rate(limit, HOUR)])
        self.buckets[key] = bucket
        if len(self.buckets) > REMEMBERED:
            self.buckets.popitem(last=False)
        bucket.leak(now)
        return bucket
