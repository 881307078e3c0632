"""How an actor asks models: each call is let in by the provider's actor, and its end reported there."""

from __future__ import annotations

from collections.abc import Sequence

from goclaw.domain.address import provider
from goclaw.domain.errors import ProviderError
from goclaw.domain.model import Candidate, Enter, Entered, Left, Resting
from goclaw.providers.failover import Failover, Purse
from goclaw.runtime.actor import Context
from goclaw.runtime.faults import NoSuchActor

IN_LINE = 600.0  # seconds; a run's own deadline comes first


class ModelDesk:
    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx

    async def enter(self, candidate: Candidate, tried: tuple[int, ...], *, probe: bool) -> Entered | Resting:
        ask = Enter(model=candidate.model, tried=tried, probe=probe)
        try:
            return await self._ctx.ask(provider(candidate.provider), ask, within=IN_LINE)
        except NoSuchActor:
            raise ProviderError("model_not_found", f"there is no provider {candidate.provider}") from None

    def left(self, candidate: Candidate, slot: int, *, answered: bool, trouble: ProviderError | None) -> None:
        kind = trouble.kind if trouble is not None else None
        wait = trouble.retry_after if trouble is not None else None
        news = Left(model=candidate.model, slot=slot, answered=answered, trouble=kind, retry_after=wait)
        self._ctx.tell(provider(candidate.provider), news)

    def now(self) -> float:
        return self._ctx.clock.epoch_ms() / 1000


def models_of(ctx: Context, candidates: Sequence[Candidate], purse: Purse) -> Failover:
    """The first of `candidates` that can answer, at each call anew, paid from `purse`."""
    return Failover(candidates, ModelDesk(ctx), purse)
