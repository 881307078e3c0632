"""What the node knows of prices and limits. One for all its runs. Contract: providers.md §13, §18."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from goclaw.domain.budget import Limits
from goclaw.runtime.actor import Context
from goclaw.settings.budgets import Budgets
from goclaw.settings.telemetry import ModelPrice

DAY = 86_400.0
MODELS = 1000  # without a price that a warning is remembered of


@dataclass(frozen=True)
class Spending:
    settings: Budgets = Budgets()  # noqa: RUF009 - frozen
    pricing: Mapping[str, ModelPrice] = field(default_factory=dict)
    max_tokens: int = 8192  # of an answer nobody set a length for
    limits: Limits = field(default_factory=Limits)
    _warned: dict[str, float] = field(default_factory=dict)

    def of_run(self, max_cost: Decimal | None) -> tuple[Decimal | None, int | None]:
        """The limits of a run's own purses: of the request (USD) or of everybody."""
        usd = max_cost if max_cost is not None else Decimal(str(self.settings.run_usd)) or None
        return usd, self.settings.run_tokens or None

    def warn_of(self, provider: str, model: str, ctx: Context) -> None:
        """A limit in USD does not bind what has no price (G9): said once a day for each model."""
        name, now = f"{provider}/{model}", ctx.clock.monotonic()
        if now - self._warned.get(name, -DAY) < DAY:
            return
        if len(self._warned) >= MODELS:
            self._warned.clear()
        self._warned[name] = now
        ctx.log.warning("budget.unpriced", provider=provider, model=model)
