"""What calls of models may cost when nobody made a purse for it, and how full purses are met.

Contract: providers.md §18, config-cli.md §4.7.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from goclaw.settings.section import Section


class Budgets(Section, frozen=True):
    """Limits of what models may cost."""

    unknown_price: Annotated[
        Literal["allow", "refuse"], Meta(description="a model without a price, where a purse in usd has a limit")
    ] = "allow"
    min_output_tokens: Annotated[
        int, Meta(ge=1, le=1_000_000, description="shortest answer that is still asked for when little is left")
    ] = 256
    wait_sec: Annotated[float, Meta(ge=0, le=300, description="wait for what other calls hold and may give back")] = 5.0
    warn_share: Annotated[float, Meta(gt=0, le=1, description="of a limit, at which its owner is told")] = 0.8
    run_usd: Annotated[float, Meta(ge=0, le=1_000_000, description="a run and all it starts; 0 = no limit")] = 0.0
    run_tokens: Annotated[
        int, Meta(ge=0, le=1_000_000_000, description="prompts and answers of a run and all it starts; 0 = no limit")
    ] = 0
