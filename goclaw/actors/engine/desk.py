"""How an actor asks models: each call is let in by the provider's actor, and its end reported there."""

from __future__ import annotations

from collections.abc import Sequence

from goclaw.domain.address import provider
from goclaw.domain.errors import ProviderError
from goclaw.domain.model import Candidate, Enter, Entered, Left, Resting
from goclaw.providers.failover import Failover
from goclaw.runtime.actor import Context
from goclaw.runtime.faults import AskTimeout, NoSuchActor, Rejected, RuntimeFault

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
        except Rejected as refusal:  # a long line, or an actor that crashed too often
            said = f"{candidate.provider} lets nobody in: {refusal.err.details.get('reason', refusal.err.key)}"
            raise ProviderError("overloaded", said, retry_after=refusal.err.retry_after) from refusal
        except AskTimeout:
            raise ProviderError("timeout", f"{candidate.provider} had no room within {IN_LINE:g} s") from None
        except RuntimeFault as fault:
            raise ProviderError("server_error", f"{candidate.provider} cannot be reached: {fault}") from fault

    def left(self, candidate: Candidate, slot: int, *, answered: bool, trouble: ProviderError | None) -> None:
        kind = trouble.kind if trouble is not None else None
        wait = trouble.retry_after if trouble is not None else None
        news = Left(model=candidate.model, slot=slot, answered=answered, trouble=kind, retry_after=wait)
        self._ctx.tell(provider(candidate.provider), news)

    def now(self) -> float:
        return self._ctx.clock.epoch_ms() / 1000


def models_of(ctx: Context, candidates: Sequence[Candidate], within: float = float("inf")) -> Failover:
    """The first of `candidates` that can answer, at each call anew; each has `within` seconds to begin."""
    return Failover(candidates, ModelDesk(ctx), within)
