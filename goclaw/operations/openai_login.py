"""ChatGPT accounts as providers: log in with a browser, paste where it ended. Contract: edge-http.md §21."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import structlog
from msgspec import Meta, Struct

from goclaw.domain.access import Role
from goclaw.domain.address import LOGIN
from goclaw.domain.errors import ProviderError, Rejected, failed_precondition, invalid, provider_failed
from goclaw.domain.model import AwaitLogin
from goclaw.operations.activity import record, recorded
from goclaw.operations.context import Context
from goclaw.operations.operation import Cli, Http, Rpc, operation
from goclaw.operations.provider_shapes import CreateProvider
from goclaw.operations.providers import applied, create
from goclaw.providers.authority import AUTHORITY, SCOPES, Login, account_of, begin, redeem, returned
from goclaw.providers.catalogue import CHATGPT
from goclaw.runtime.faults import RuntimeFault
from goclaw.security.box import Place
from goclaw.stores import oauth, providers
from goclaw.stores.oauth import COLUMN
from goclaw.stores.providers import ProviderRow

NAME = "openai-codex"  # of the provider that the first login makes; wire-compat.md C11
OPEN = timedelta(minutes=10)  # in which a login that was begun must end
DOOR = 2.0  # seconds until the callback's address is listened on
LOGINS = 100  # begun at a time


log = structlog.get_logger()


class AskStatus(Struct, kw_only=True):
    """Of the caller's tenant."""


class LoginStatus(Struct, omit_defaults=True, kw_only=True):
    authenticated: bool
    provider_name: str | None = None
    expires_at: datetime | None = None
    error: str | None = None


class Begun(Struct, omit_defaults=True, kw_only=True):
    auth_url: str | None = None
    expires_at: datetime | None = None
    status: str | None = None


class Returned(Struct, kw_only=True):
    """`redirect_url` is the address the browser ended at, whether a page was there or not."""

    redirect_url: Annotated[str, Meta(min_length=1, max_length=8192)]


class LoggedIn(Struct, kw_only=True):
    authenticated: bool
    provider_name: str
    provider_id: str


class LoggedOut(Struct, kw_only=True):
    status: str = "logged out"


@operation(Rpc("auth.openai.status", Role.VIEWER), Http("GET /v1/auth/openai/status", Role.VIEWER), Cli("auth status"))
async def status(ctx: Context, ask: AskStatus) -> LoginStatus:
    """Say whether a ChatGPT account is logged in."""
    row = await _account(ctx)
    token = await ctx.db(oauth.find, provider=row.id) if row is not None else None
    if row is None or token is None:
        return LoginStatus(authenticated=False)
    over = token.last_error is not None and token.expires_at is not None and token.expires_at <= ctx.now()
    return LoginStatus(
        authenticated=not over, provider_name=row.name, expires_at=token.expires_at, error=token.last_error
    )


@operation(Rpc("auth.openai.start", Role.ADMIN), Http("POST /v1/auth/openai/start", Role.ADMIN))
async def start(ctx: Context, ask: AskStatus) -> Begun:
    """Begin a login: the address to open in a browser."""
    if (await status(ctx, ask)).authenticated:
        return Begun(status="already_authenticated")
    logins, now = ctx.house.logins, ctx.now()
    for over in [begun.state for begun in logins.values() if begun.until <= now]:
        del logins[over]
    while len(logins) >= LOGINS:
        del logins[next(iter(logins))]
    login = begin(ctx.caller, now + OPEN)
    logins[login.state] = login
    try:
        await ctx.ask(LOGIN, AwaitLogin(within=OPEN.total_seconds()), within=DOOR)
    except RuntimeFault as fault:  # pasting still works
        log.warning("login.no_door", error=str(fault))
    return Begun(auth_url=login.url(ctx.house.auth_base or AUTHORITY), expires_at=login.until)


@operation(Rpc("auth.openai.callback", Role.ADMIN), Http("POST /v1/auth/openai/callback", Role.ADMIN))
@recorded
async def callback(ctx: Context, ask: Returned) -> LoggedIn:
    """End a login with the address the browser was sent to. The account is a provider then."""
    said = returned(ask.redirect_url)
    login = _login(ctx, said.get("state", ""))
    if "code" not in said:
        raise Rejected(invalid("redirect_url", f"holds no code: {said.get('error', 'it is another address')[:80]}"))
    try:
        tokens = await redeem(ctx.house.auth_base or AUTHORITY, said["code"], login)
    except ProviderError as error:
        raise Rejected(provider_failed(error)) from None
    row = await _account(ctx)
    if row is None:
        made = await create(ctx, CreateProvider(name=NAME, provider_type=CHATGPT.name, display_name="ChatGPT"))
        row = await ctx.db(providers.find, tenant=ctx.caller.tenant_id, name=made.id)
        assert row is not None
    id, seal = ctx.new_id(), ctx.house.box.seal
    await ctx.db(
        oauth.put,
        provider=row.id,
        id=id,
        tenant=ctx.caller.tenant_id,
        kind="openai",
        access_token=seal(tokens.access_token, Place(COLUMN + "access_token", id)),
        refresh_token=seal(tokens.refresh_token, Place(COLUMN + "refresh_token", id)) if tokens.refresh_token else None,
        id_token=seal(tokens.id_token, Place(COLUMN + "id_token", id)) if tokens.id_token else None,
        scopes=list(SCOPES),
        account=account_of(tokens.id_token),
        expires_at=ctx.now() + timedelta(seconds=tokens.expires_in),
    )
    await applied(ctx)
    await record(ctx, "provider.logged_in", "provider", row.id, name=row.name)
    return LoggedIn(authenticated=True, provider_name=row.name, provider_id=row.id)


@operation(Rpc("auth.openai.logout", Role.ADMIN), Http("POST /v1/auth/openai/logout", Role.ADMIN), Cli("auth logout"))
@recorded
async def logout(ctx: Context, ask: AskStatus) -> LoggedOut:
    """Forget the account's tokens; its provider stays and cannot be asked."""
    row = await _account(ctx)
    if row is not None:
        await ctx.db(oauth.forget, provider=row.id)
        await applied(ctx)
        await record(ctx, "provider.logged_out", "provider", row.id, name=row.name)
    return LoggedOut()


def _login(ctx: Context, state: str) -> Login:
    """The login that is ended, once. Refused for an address of another login, tenant or day."""
    login = ctx.house.logins.get(state)
    if login is None or login.caller.tenant_id != ctx.caller.tenant_id or login.until <= ctx.now():
        raise Rejected(failed_precondition("no_such_login", hint="begin again: it is open for ten minutes"))
    del ctx.house.logins[state]
    return login


async def _account(ctx: Context) -> ProviderRow | None:
    """The tenant's first provider that logs in."""
    rows = await ctx.db(providers.page, tenant=ctx.caller.tenant_id)
    return next((row for row in rows if row.provider_type == CHATGPT.name), None)
