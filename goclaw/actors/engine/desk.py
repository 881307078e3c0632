"""How an actor asks models: each call is let in by the provider's actor, and its end reported there."""

from __future__ import annotations

from collections.abc import Sequence

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import provider
from goclaw.domain.errors import ProviderError
from goclaw.domain.model import Candidate, Enter, Entered, Left, Resting
from goclaw.providers.failover import Failover
from goclaw.runtime.actor import Context
from goclaw.runtime.address import Address
from goclaw.runtime.faults import ActorStopped, NoSuchActor, Rejected

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
                break
            except ActorStopped:
                continue  # another takes its place
            except Rejected as refusal:
                raise _trouble(refusal) from None
        raise ProviderError("model_not_found", f"there is no provider {candidate.provider}")

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


def _trouble(refusal: Rejected) -> ProviderError:
    """What a provider that cannot be opened said."""
    details = refusal.err.details
    if details.get("reason") == "provider_error":
        return ProviderError(details["kind"], details["message"])
    return ProviderError("server_error", f"not now: {details.get('reason', refusal.err.code)}")


def models_of(ctx: Context, candidates: Sequence[Candidate], tenant: str = MASTER_TENANT) -> Failover:
    """The first of `candidates` that can answer, at each call anew."""
    return Failover(candidates, ModelDesk(ctx, tenant))
