"""How an actor asks models: each call is let in by the provider's actor, and its end reported there."""

from __future__ import annotations

from collections.abc import Sequence

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import provider
from goclaw.domain.errors import ProviderError
from goclaw.domain.model import Candidate, Enter, Entered, Left, Resting
from goclaw.providers.failover import Failover, Purse
from goclaw.providers.structured import Structured
from goclaw.runtime.actor import Context
from goclaw.runtime.address import Address
from goclaw.runtime.faults import ActorStopped, AskTimeout, NoSuchActor, Rejected, RuntimeFault

ASKS = 3  # of a provider that is replaced
IN_LINE = 600.0  # seconds; a run's own deadline comes first


class ModelDesk:
    def __init__(self, ctx: Context, tenant: str) -> None:
        self._ctx = ctx
        self._tenant = tenant

    async def enter(self, candidate: Candidate, tried: tuple[int, ...], *, probe: bool) -> Entered | Resting:
        ask = Enter(model=candidate.model, tried=tried, probe=probe)
        for _ in range(ASKS):
            try:
                return await self._ctx.ask(self._address(candidate.provider), ask, within=IN_LINE)
            except NoSuchActor:
                raise ProviderError("model_not_found", f"there is no provider {candidate.provider}") from None
            except ActorStopped:
                continue  # another takes its place
            except Rejected as refusal:  # a long line, or an actor that crashed too often
                said = f"{candidate.provider} lets nobody in: {refusal.err.details.get('reason', refusal.err.key)}"
                raise ProviderError("overloaded", said, retry_after=refusal.err.retry_after) from refusal
            except AskTimeout:
                raise ProviderError("timeout", f"{candidate.provider} had no room within {IN_LINE:g} s") from None
            except RuntimeFault as fault:
                raise ProviderError("server_error", f"{candidate.provider} cannot be reached: {fault}") from fault
        raise ProviderError("server_error", f"{candidate.provider} cannot be reached: it stops again and again")

    def left(self, candidate: Candidate, slot: int, *, answered: bool, trouble: ProviderError | None) -> None:
        kind = trouble.kind if trouble is not None else None
        wait = trouble.retry_after if trouble is not None else None
        news = Left(model=candidate.model, slot=slot, answered=answered, trouble=kind, retry_after=wait)
        self._ctx.tell(self._address(candidate.provider), news)

    def now(self) -> float:
        return self._ctx.clock.epoch_ms() / 1000

    def _address(self, name: str) -> Address:
        """The tenant's own provider of that name, else the gateway's."""
        own = provider(name, self._tenant)
        return own if self._ctx.system.find(own) is not None else provider(name)


def models_of(
    ctx: Context,
    candidates: Sequence[Candidate],
    purse: Purse,
    tenant: str = MASTER_TENANT,
    within: float = float("inf"),
) -> Structured:
    """The first of `candidates` that can answer, at each call anew and paid from `purse`; each has `within` seconds
    to begin.
    """
    return Structured(Failover(candidates, ModelDesk(ctx, tenant), within, purse))
