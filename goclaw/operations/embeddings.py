"""Who makes vectors of texts: which model it is, and whether a provider has one. Contract: edge-http.md §7.

Nobody's purse pays for a try: it is one word.
"""

from __future__ import annotations

from typing import Annotated

import trio
from msgspec import Meta, Struct

from goclaw.domain.access import Role
from goclaw.domain.errors import ProviderError
from goclaw.operations.context import Context
from goclaw.operations.operation import Http, Rpc, operation
from goclaw.operations.provider_health import everybody
from goclaw.operations.provider_shapes import ProviderId
from goclaw.operations.providers import get
from goclaw.providers.embeddings.choose import best, open_embedder
from goclaw.providers.embeddings.embedder import Embedder
from goclaw.providers.rows import configured, guard_of
from goclaw.security.box import Place, SecretUnreadable
from goclaw.settings.providers import OFFLINE, Providers
from goclaw.stores import providers
from goclaw.stores.providers import KEY_COLUMN

WITHIN = 30.0  # seconds a vendor has for one vector
WORD = "hello"


class GetStatus(Struct, kw_only=True):
    """Nothing to say."""


class EmbeddingStatus(Struct, kw_only=True):
    """`configured`: by a model. Without one texts are compared by their words."""

    configured: bool
    provider: str
    model: str


class VerifyEmbedding(ProviderId, kw_only=True):
    model: Annotated[str, Meta(max_length=200)] = ""


class EmbeddingVerified(Struct, omit_defaults=True, kw_only=True):
    valid: bool
    error: str | None = None
    dimensions: int | None = None


@operation(Rpc("embedding.status", Role.VIEWER), Http("GET /v1/embedding/status", Role.VIEWER))
async def status(ctx: Context, ask: GetStatus) -> EmbeddingStatus:
    """Say who makes vectors of texts."""
    name, model = best(await everybody(ctx))
    return EmbeddingStatus(configured=name != OFFLINE, provider=name, model=model)


@operation(Rpc("providers.verify_embedding", Role.ADMIN), Http("POST /v1/providers/{id}/verify-embedding", Role.ADMIN))
async def verify_embedding(ctx: Context, ask: VerifyEmbedding) -> EmbeddingVerified:
    """Try a provider's embeddings: one word, with its usual model or the one named."""
    name = (await get(ctx, ProviderId(id=ask.id))).name
    try:
        embedder = await _opened(ctx, name, ask.model)
        try:
            with trio.fail_after(WITHIN):
                await embedder.embed([WORD])
        finally:
            await embedder.aclose()
    except ProviderError as error:
        return EmbeddingVerified(valid=False, error=error.message[:500])
    except trio.TooSlowError:
        return EmbeddingVerified(valid=False, error=f"{name}: no answer in time")
    return EmbeddingVerified(valid=True, dimensions=embedder.dims)


async def _opened(ctx: Context, name: str, model: str) -> Embedder:
    """The embedder of a provider, configured or added. Raises ProviderError."""
    settings = ctx.house.settings.providers
    row = await ctx.db(providers.find, tenant=ctx.caller.tenant_id, name=name)
    if row is None:
        return open_embedder(settings, provider=name, model=model)
    try:
        key = ctx.house.box.unseal(row.api_key, Place(KEY_COLUMN, row.id)) if row.api_key else ""
    except SecretUnreadable:
        raise ProviderError("auth_permanent", f"{name}: its key cannot be opened: write it again") from None
    alone = Providers(named={name: configured(row, key)})
    guard = guard_of(row, settings.allow_private) if row.api_base else None
    return open_embedder(alone, provider=name, model=model, guard=guard)
