"""What the gateway tells about itself and its costs. Contract: config-cli.md §4, providers.md §13."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from msgspec import Meta, Struct, field

from goclaw.domain.price import Price
from goclaw.settings.section import Section

PerMillion = Annotated[float, Meta(ge=0, le=1_000_000)]


class ModelPrice(Struct, frozen=True, forbid_unknown_fields=True):
    """USD per million tokens; what is left out costs what input, or for reasoning output, costs."""

    input_per_million: PerMillion
    output_per_million: PerMillion
    cache_read_per_million: PerMillion | None = None
    cache_create_per_million: PerMillion | None = None
    reasoning_per_million: PerMillion | None = None

    def price(self) -> Price:
        return Price(
            input=Decimal(str(self.input_per_million)),
            output=Decimal(str(self.output_per_million)),
            cache_read=_maybe(self.cache_read_per_million),
            cache_write=_maybe(self.cache_create_per_million),
            reasoning=_maybe(self.reasoning_per_million),
        )


class Telemetry(Section, frozen=True):
    """Figures about model calls."""

    model_pricing: Annotated[
        dict[str, ModelPrice], Meta(description="by provider/model or model; wins over the built-in table")
    ] = field(default_factory=dict)


def _maybe(usd: float | None) -> Decimal | None:
    return None if usd is None else Decimal(str(usd))
