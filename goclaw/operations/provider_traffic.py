"""What providers had to do lately, and who stands in for them. Contract: dashboard.md §6.8, pages 44 and 45."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from goclaw.domain.model import Candidate
from goclaw.operations.context import Context
from goclaw.operations.provider_health import everybody
from goclaw.operations.provider_shapes import Traffic
from goclaw.providers.choose import default_model, fallbacks
from goclaw.settings.providers import Providers
from goclaw.stores import model_calls, providers

LATELY = timedelta(hours=24)


class Lately:
    """The traffic of all providers a caller may see, read once."""

    def __init__(
        self,
        ctx: Context,
        lineup: Providers,
        agents: dict[str, int],
        calls: dict[str, model_calls.ProviderCalls],
        fallbacks: Counter[str],
    ) -> None:
        self._settings = ctx.house.settings
        self._lineup = lineup
        self._agents = agents
        self._calls = calls
        self._fallbacks = fallbacks

    def of(self, name: str) -> Traffic:
        calls = self._calls.get(name, model_calls.ProviderCalls(provider=name))
        return Traffic(
            agents=self._agents.get(name, 0),
            calls_24h=calls.calls,
            errors_24h=calls.errors,
            fallbacks=self._fallbacks[name],
            order=self._order(name),
        )

    def _order(self, name: str) -> list[str]:
        defaults = self._settings.agents.defaults
        first = Candidate(name, default_model(name, self._lineup, defaults))
        others = fallbacks(first, (), self._lineup, self._settings.failover, defaults)
        return list(dict.fromkeys(map(str, (first, *others))))


async def lately(ctx: Context) -> Lately:
    tenant, since = ctx.caller.tenant_id, ctx.now() - LATELY
    return Lately(
        ctx,
        await everybody(ctx),
        await ctx.db(providers.agents_using, tenant=tenant),
        {row.provider: row for row in await ctx.db(model_calls.by_provider, tenant=tenant, since=since)},
        _fallbacks(ctx),
    )


def _fallbacks(ctx: Context) -> Counter[str]:
    found: Counter[str] = Counter()
    for sample in ctx.system.meter.samples():
        if sample.name == "llm_fallbacks_total":
            found[dict(sample.labels)["from_provider"]] += int(sample.value)
    return found
