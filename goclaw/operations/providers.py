"""Vendors of models as operators see them: who there is, add, change, try, remove. Contract: edge-http.md §7.

A change is stored, and the next call sees it, before it is answered.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import structlog
import trio
from msgspec import UNSET

from goclaw.domain.access import Role
from goclaw.domain.address import ROSTER
from goclaw.domain.chat import ChatMessage, ChatOptions, ChatRequest
from goclaw.domain.errors import (
    ProviderError,
    Rejected,
    already_exists,
    exhausted,
    failed_precondition,
    invalid,
    not_found,
    provider_in_use,
)
from goclaw.domain.model import LookAtProviders
from goclaw.operations.activity import record, recorded
from goclaw.operations.context import Context
from goclaw.operations.operation import Cli, Http, Rpc, operation
from goclaw.operations.provider_health import borrow, health_of
from goclaw.operations.provider_shapes import (
    CreateProvider,
    DeleteProvider,
    ModelsOf,
    ModelView,
    Preset,
    Presets,
    ProviderId,
    ProviderList,
    ProviderView,
    ToggleProvider,
    UpdateProvider,
    Verified,
    VerifyProvider,
    view_of,
    view_of_configured,
)
from goclaw.operations.provider_traffic import Lately, lately
from goclaw.operations.provider_wishes import blank, checked
from goclaw.providers.claude_cli.provider import AuthStatus
from goclaw.providers.provider import Provider
from goclaw.providers.registry import model_named
from goclaw.providers.rows import TYPES, VENDORS, like, settings_of, vendor_of
from goclaw.runtime.faults import RuntimeFault
from goclaw.settings.providers import OFFLINE, programs
from goclaw.settings.providers import Provider as Configured
from goclaw.stores import providers
from goclaw.stores.providers import ProviderRow, Used

ANSWER = 30.0  # seconds a vendor has for the one word of a check; edge-http.md §7
LISTING = 15.0  # seconds it has for the list of its models
APPLY = 10.0  # seconds until a change has reached the provider
NO_LIST = frozenset({404, 405, 501})  # the vendor is there, and has no list of models

log = structlog.get_logger()


class ListProviders(msgspec.Struct, kw_only=True):
    """All there are: the list is short."""


class Deleted(msgspec.Struct, kw_only=True):
    deleted: bool = True


@operation(Rpc("providers.list", Role.VIEWER), Http("GET /v1/providers", Role.VIEWER), Cli("providers list"))
async def list_providers(ctx: Context, ask: ListProviders) -> ProviderList:
    """List who can be asked for answers: built in, configured and added."""
    rows = await ctx.db(providers.page, tenant=ctx.caller.tenant_id)
    traffic = await lately(ctx)
    added = {row.name for row in rows}
    views = [await _configured_view(ctx, name, traffic) for name in _configured(ctx) if name not in added]
    views += [view_of(row, await health_of(ctx, row.name), traffic.of(row.name)) for row in rows]
    return ProviderList(providers=views)


@operation(Rpc("providers.presets", Role.VIEWER), Http("GET /v1/providers/presets", Role.VIEWER))
async def presets(ctx: Context, ask: ListProviders) -> Presets:
    """List the types a provider may have, each with the address and the model it begins with."""
    vendors = {type: VENDORS.get(like("", type)) for type in sorted(TYPES)}
    return Presets(
        presets=[
            Preset(type=type, api_base=vendor.base_url, model=vendor.default_model, keyless=vendor.keyless)
            if vendor
            else Preset(type=type)
            for type, vendor in vendors.items()
        ]
    )


@operation(Rpc("providers.claude_cli", Role.VIEWER), Http("GET /v1/providers/claude-cli/auth-status", Role.VIEWER))
async def claude_login(ctx: Context, ask: ListProviders) -> AuthStatus:
    """Say whether somebody is logged in with the `claude` program of this machine."""
    try:
        client: Any = await borrow(ctx, "claude_cli")
    except ProviderError:
        return AuthStatus(installed=False, logged_in=False, error="no claude program is configured")
    status: AuthStatus = await client.auth_status()
    return status


@operation(Rpc("providers.get", Role.VIEWER), Http("GET /v1/providers/{id}", Role.VIEWER), Cli("providers show"))
async def get(ctx: Context, ask: ProviderId) -> ProviderView:
    """Show a provider by id or name."""
    row = await ctx.db(providers.find, tenant=ctx.caller.tenant_id, name=ask.id)
    if row is not None:
        return view_of(row, await health_of(ctx, row.name), (await lately(ctx)).of(row.name))
    if ask.id in _configured(ctx):
        return await _configured_view(ctx, ask.id, await lately(ctx))
    raise Rejected(not_found("provider", ask.id[:100]))


@operation(Rpc("providers.create", Role.ADMIN), Http("POST /v1/providers", Role.ADMIN, status=201))
@recorded
async def create(ctx: Context, ask: CreateProvider) -> ProviderView:
    """Add a provider. It can be asked at once."""
    id = ctx.new_id()
    row = await checked(ctx, ask, blank(ctx, ask, id))
    made = await ctx.db(
        providers.add,
        id=id,
        tenant=ctx.caller.tenant_id,
        name=row.name,
        display_name=row.display_name,
        provider_type=row.provider_type,
        api_base=row.api_base,
        api_key=row.api_key,
        enabled=row.enabled,
        settings=row.settings,
    )
    if made == "exists":
        raise Rejected(already_exists("provider", row.name))
    if made == "full":
        raise Rejected(exhausted("providers"))
    return await _changed(ctx, made, "created")


@operation(Rpc("providers.update", Role.ADMIN), Http("PUT /v1/providers/{id}", Role.ADMIN))
@recorded
async def update(ctx: Context, ask: UpdateProvider) -> ProviderView:
    """Change a provider. What is not named stays; the next call sees it."""
    before = await _row(ctx, ask.id)
    if ask.provider_type not in (UNSET, before.provider_type):
        raise Rejected(invalid("provider_type", "cannot be changed"))
    row = await checked(ctx, ask, before)
    changed = await ctx.db(
        providers.change,
        tenant=ctx.caller.tenant_id,
        id=before.id,
        seen=before.updated_at,
        name=row.name,
        display_name=row.display_name,
        api_base=row.api_base,
        api_key=row.api_key,
        enabled=row.enabled,
        settings=row.settings,
    )
    if changed is None:
        raise Rejected(failed_precondition("changed_meanwhile"))
    if changed == "exists":
        raise Rejected(already_exists("provider", row.name))
    return await _changed(ctx, changed, "updated")


@operation(
    Rpc("providers.toggle", Role.ADMIN), Http("POST /v1/providers/{id}/toggle", Role.ADMIN), Cli("providers toggle")
)
@recorded
async def toggle(ctx: Context, ask: ToggleProvider) -> ProviderView:
    """Switch a provider on or off; without `enabled` the other way."""
    row = await _row(ctx, ask.id)
    return await update(ctx, UpdateProvider(id=row.id, enabled=not row.enabled if ask.enabled is None else ask.enabled))


@operation(Rpc("providers.delete", Role.ADMIN), Http("DELETE /v1/providers/{id}", Role.ADMIN), Cli("providers delete"))
@recorded
async def delete(ctx: Context, ask: DeleteProvider) -> Deleted:
    """Remove a provider that no agent uses, or any by force. Answers that have begun go on."""
    row = await _row(ctx, ask.id)
    used = await ctx.db(providers.remove, tenant=ctx.caller.tenant_id, id=row.id, name=row.name, force=ask.force)
    if isinstance(used, Used):
        raise Rejected(provider_in_use(row.name, used.agents))
    await applied(ctx)
    await record(ctx, "provider.deleted", "provider", row.id, name=row.name, forced=ask.force)
    return Deleted()


@operation(
    Rpc("providers.verify", Role.ADMIN), Http("POST /v1/providers/{id}/verify", Role.ADMIN), Cli("providers verify")
)
async def verify(ctx: Context, ask: VerifyProvider) -> Verified:
    """Try a provider: is it there; with `model`, one word of it."""
    name = (await get(ctx, ProviderId(id=ask.id))).name
    began = trio.current_time()
    try:
        client = await borrow(ctx, name)
        with trio.fail_after(ANSWER if ask.model else LISTING):
            await (_one_word(client, ask.model) if ask.model else _reach(client))
    except ProviderError as error:
        return Verified(valid=False, error=error.message)
    except trio.TooSlowError:
        return Verified(valid=False, error=f"{name}: no answer in time")
    return Verified(valid=True, latency_ms=int((trio.current_time() - began) * 1000))


@operation(
    Rpc("providers.models", Role.VIEWER), Http("GET /v1/providers/{id}/models", Role.VIEWER), Cli("providers models")
)
async def models(ctx: Context, ask: ProviderId) -> ModelsOf:
    """List the models a provider says it has; those it is configured with if it has no list."""
    said = await get(ctx, ProviderId(id=ask.id))
    row = await ctx.db(providers.find, tenant=ctx.caller.tenant_id, name=said.name)
    named = ctx.house.settings.providers.named.get(said.name, Configured())
    known = settings_of(row).model_info if row is not None else named.model_info
    own = settings_of(row).models if row is not None else named.models
    try:
        client = await borrow(ctx, said.name)
        with trio.fail_after(LISTING):
            found = await client.models()
    except ProviderError as error:
        if error.status not in NO_LIST:
            return ModelsOf(models=[], error=error.message)
        found = list(dict.fromkeys((*own, client.default_model)))
    except trio.TooSlowError:
        return ModelsOf(models=[], error=f"{said.name}: no list in time")
    views = []
    for id in found:
        model = model_named(id, known)
        views.append(ModelView(id=id, name=id, context_window=model.window, reasoning=bool(model.efforts)))
    return ModelsOf(models=views)


def _configured(ctx: Context) -> tuple[str, ...]:
    """Names that are built in, of the file or of a variable."""
    settings = ctx.house.settings.providers
    return (OFFLINE, *settings.named, *programs(settings))


async def _row(ctx: Context, id: str) -> ProviderRow:
    row = await ctx.db(providers.find, tenant=ctx.caller.tenant_id, name=id)
    if row is not None:
        return row
    if id in _configured(ctx):
        raise Rejected(failed_precondition("configured", hint="it is in the configuration, not in the store"))
    raise Rejected(not_found("provider", id[:100]))


async def _changed(ctx: Context, row: ProviderRow, action: str) -> ProviderView:
    await applied(ctx)
    await record(ctx, f"provider.{action}", "provider", row.id, name=row.name)
    return view_of(row, await health_of(ctx, row.name), (await lately(ctx)).of(row.name))


async def applied(ctx: Context) -> None:
    """The next call sees what was stored."""
    try:
        await ctx.ask(ROSTER, LookAtProviders(), within=APPLY)
    except RuntimeFault as fault:  # it is stored, and will be seen
        log.warning("providers.not_applied", error=str(fault))


async def _configured_view(ctx: Context, name: str, traffic: Lately) -> ProviderView:
    said = ctx.house.settings.providers.named.get(name, Configured())
    health = await health_of(ctx, name)
    since = ctx.now() - timedelta(milliseconds=ctx.house.uptime_ms)
    return view_of_configured(name, said, vendor_of(name, said).base_url, health, traffic.of(name), since)


async def _reach(client: Provider) -> None:
    try:
        await client.models(fresh=True)
    except ProviderError as error:
        if error.status not in NO_LIST:
            raise


async def _one_word(client: Provider, model: str) -> None:
    ask = ChatRequest(
        messages=(ChatMessage(role="user", content="Hi"),), model=model, options=ChatOptions(max_tokens=1)
    )
    async with client.stream(ask) as chunks:
        async for _ in chunks:
            pass
