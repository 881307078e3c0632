"""Asking a provider's actor: how it fares, and for its client."""

from __future__ import annotations

from goclaw.domain.address import provider
from goclaw.domain.errors import ProviderError, Rejected
from goclaw.domain.model import BorrowProvider, GetRests
from goclaw.operations.context import Context
from goclaw.operations.provider_shapes import Health
from goclaw.providers.provider import Provider
from goclaw.providers.rows import lineup
from goclaw.runtime.address import Address
from goclaw.runtime.faults import NoSuchActor, RuntimeFault
from goclaw.settings.providers import Providers
from goclaw.stores import providers

STATE = 2.0  # seconds an actor has to answer
NOBODY = "it has no key, no address, or is turned off"


async def everybody(ctx: Context) -> Providers:
    """Who there is for the caller, configured and added."""
    return lineup(ctx.house.settings.providers, await ctx.db(providers.page, tenant=ctx.caller.tenant_id))


async def health_of(ctx: Context, name: str) -> Health:
    try:
        return Health(rests=await ctx.ask(_address(ctx, name), GetRests(), within=STATE))
    except NoSuchActor:
        return Health(error=NOBODY)
    except (ProviderError, Rejected, RuntimeFault) as fault:
        return Health(error=_said(fault))


async def borrow(ctx: Context, name: str) -> Provider:
    """Raises ProviderError."""
    try:
        lent: Provider = await ctx.ask(_address(ctx, name), BorrowProvider(), within=STATE)
    except NoSuchActor:
        raise ProviderError("auth", f"{name}: {NOBODY}") from None
    except (Rejected, RuntimeFault) as fault:
        raise ProviderError("server_error", _said(fault)) from None
    return lent


def _address(ctx: Context, name: str) -> Address:
    """The tenant's own provider of that name, else the gateway's."""
    own = provider(name, ctx.caller.tenant_id)
    return own if ctx.system.find(own) is not None else provider(name)


def _said(fault: ProviderError | Rejected | RuntimeFault) -> str:
    if isinstance(fault, ProviderError):
        return fault.message
    if isinstance(fault, Rejected):
        details = fault.err.details
        return str(details.get("message") or details.get("reason") or fault.err.key)
    return "it does not answer now"
