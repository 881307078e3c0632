"""The quota: counts turns before they are stored, so that no burst passes between a count and a commit.

Address   /engine/queue/quota
Contract  sessions-lanes-cron.md §8.1; observability.md §14

Counts are read from the runs, kept for a minute and raised with every turn that is allowed. A turn that was just
allowed may not be a row yet: the next count leaves it out and it is added by hand. Beside other nodes counts are
read for every turn, because others allow turns too.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from goclaw.domain.cluster import Ownership
from goclaw.domain.errors import Err, StoreError
from goclaw.domain.quota import SECONDS, GiveTurnBack, Payer, TakeTurn, Window, exceeded
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.settings.gateway import Gateway
from goclaw.settings.quota import Windows
from goclaw.stores import quota

FRESH = 60.0  # seconds a count is good for; Q8.2
ON_THE_WAY = 30.0  # seconds after which an allowed turn is a row or will never be one
REMEMBERED = 10_000  # payers


@dataclass
class Account:
    read_at: float  # monotonic seconds
    used: dict[Window, int]
    ages: dict[Window, float]  # of the first turn of a window, when it was read
    allowed: dict[str, float] = field(default_factory=dict)  # runs, and when; oldest first


class QuotaActor(Actor):
    capacity = 4096
    responsive = True
    weather = (StoreError,)

    def __init__(self, settings: Gateway, own: Ownership) -> None:
        self.settings = settings
        self.own = own
        self.accounts: OrderedDict[Payer, Account] = OrderedDict()
        self.refused = 0

    @handles
    async def take(self, ctx: Context, ask: TakeTurn) -> bool | Err:
        limits = self.settings.quota.limits(ask.payer, channel=ask.channel, provider=ask.provider)
        if limits == Windows() or (not ask.payer.group and ask.payer.name in self.settings.owner_ids):
            return True
        account = await self._account(ctx, ask.payer)
        now = ctx.clock.monotonic()
        for window, seconds in SECONDS.items():  # the hour first
            limit, used = getattr(limits, window), account.used[window]
            if limit and used >= limit:
                self.refused += 1
                age = account.ages[window] + now - account.read_at
                return exceeded(window, used, limit, max(1.0, seconds - age))
        for window in SECONDS:
            account.used[window] += 1
        account.allowed[ask.run_id] = now
        return True

    @handles
    async def give_back(self, ctx: Context, news: GiveTurnBack) -> None:
        account = self.accounts.get(news.payer)
        if account is not None and account.allowed.pop(news.run_id, None) is not None:
            for window in SECONDS:
                account.used[window] -= 1

    async def _account(self, ctx: Context, payer: Payer) -> Account:
        known = self.accounts.get(payer)
        now = ctx.clock.monotonic()
        if known is not None and self.own.sole and now - known.read_at < FRESH:
            self.accounts.move_to_end(payer)
            return known
        recent = {run: at for run, at in (known.allowed if known else {}).items() if now - at < ON_THE_WAY}
        spent = await ctx.db(quota.spent, payer=payer, besides=list(recent))
        fresh = Account(
            read_at=now,
            used={"hour": spent.hour + len(recent), "day": spent.day + len(recent), "week": spent.week + len(recent)},
            ages={"hour": spent.hour_age, "day": spent.day_age, "week": spent.week_age},
            allowed=recent,
        )
        self.accounts[payer] = fresh
        self.accounts.move_to_end(payer)
        while len(self.accounts) > REMEMBERED:
            self.accounts.popitem(last=False)
        return fresh

    def snapshot(self) -> dict[str, object]:
        return {"enabled": self.settings.quota.enabled, "payers": len(self.accounts), "refused": self.refused}
