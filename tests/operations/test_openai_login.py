"""An account logs in, pays for calls, and is renewed in time. Contract: providers.md §7.3, edge-http.md §21."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from goclaw.actors.engine.added import Opening
from goclaw.domain.access import Caller, Role
from goclaw.domain.address import provider
from goclaw.domain.chat import ChatMessage, ChatRequest
from goclaw.domain.errors import ProviderError, Rejected
from goclaw.domain.ids import new_id
from goclaw.domain.model import BorrowProvider
from goclaw.operations import openai_login as login
from goclaw.operations import providers
from goclaw.operations.context import Context, House
from goclaw.operations.provider_shapes import CreateProvider, ProviderId
from goclaw.providers.authority import account_of
from goclaw.providers.provider import Provider
from goclaw.security.box import Box
from goclaw.security.known import Known
from goclaw.settings.providers import Providers
from goclaw.settings.settings import Settings
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, many, transaction
from tests.actors.house import house as open_house
from tests.fakes.authority import Authority, jwt, open_authority
from tests.fakes.vendors.farm import Farm
from tests.fakes.vendors.script import answer

NOBODY = login.AskStatus()


@pytest.fixture
async def authority() -> AsyncIterator[Authority]:
    async with open_authority() as authority:
        yield authority


@pytest.fixture
def known() -> Known:
    return Known()


@pytest.fixture
async def ctx(
    database: Database, tmp_path: Path, farm: Farm, authority: Authority, known: Known
) -> AsyncIterator[Context]:
    """A house whose provider `chatgpt` is the farm's."""
    settings, box = Providers(allow_private=True), Box(b"k" * 32)
    opening = Opening(box, allow_private=True, authority=authority.url, known=known)
    async with open_house(database, tmp_path, providers=settings, opening=opening) as system:
        house = House(Settings(providers=settings), system, "0", new_id(), 0, box=box, auth_base=authority.url)
        ctx = Context(house, Caller(user_id="lan", role=Role.ADMIN))
        row = CreateProvider(name="mine", provider_type="chatgpt_oauth", api_base=farm["chatgpt"].url)
        await providers.create(ctx, row)
        yield ctx


async def log_in(ctx: Context, authority: Authority) -> login.LoggedIn:
    begun = await login.start(ctx, NOBODY)
    assert begun.auth_url is not None
    return await login.callback(ctx, login.Returned(redirect_url=authority.browser(begun.auth_url)))


async def say(ctx: Context) -> str:
    lent: Provider = await ctx.ask(provider("mine"), BorrowProvider(), within=5)
    ask = ChatRequest(messages=(ChatMessage(role="user", content="hello"),), model="gpt-5.3-codex")
    async with lent.stream(ask) as chunks:
        got = [chunk async for chunk in chunks]
    assert got[-1].done is not None
    return str(got[-1].done.content)


@transaction
async def stored(db: Connection) -> list[str]:
    return await many(str, db.execute("SELECT access_token || refresh_token || id_token FROM oauth_tokens"))


@transaction
async def expire(db: Connection, seconds: int) -> None:
    await db.execute("UPDATE oauth_tokens SET expires_at = now() + %s * interval '1 second'", [seconds])


async def test_an_account_logs_in_and_pays_for_calls(ctx: Context, farm: Farm, authority: Authority) -> None:
    farm["chatgpt"].will(answer("by account"))
    assert not (await login.status(ctx, NOBODY)).authenticated

    done = await log_in(ctx, authority)

    assert (done.authenticated, done.provider_name) == (True, "mine")
    assert (await login.status(ctx, NOBODY)).authenticated
    assert await say(ctx) == "by account"
    heard = farm["chatgpt"].heard[-1].headers
    assert (heard["authorization"], heard["chatgpt-account-id"]) == ("Bearer access-1", "acc-1")
    (kept,) = await ctx.db(stored)
    assert kept.count("aes-gcm2:") == 3
    assert "access-1" not in kept
    assert (await login.start(ctx, NOBODY)).status == "already_authenticated"


async def test_the_tokens_of_an_account_are_known_as_secrets(
    ctx: Context, farm: Farm, authority: Authority, known: Known
) -> None:
    farm["chatgpt"].will(answer("by account"))
    await log_in(ctx, authority)

    await say(ctx)

    assert "access-1" in known.forms.values


async def test_a_token_is_renewed_before_it_ends_and_once_for_all_calls(
    ctx: Context, farm: Farm, authority: Authority
) -> None:
    authority.expires_in = 299  # within the five minutes in which it is renewed
    await log_in(ctx, authority)
    authority.expires_in = 3600
    farm["chatgpt"].will(*(answer("here") for _ in range(5)))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(say, ctx)

    assert [form["grant_type"] for form in authority.asked] == ["authorization_code", "refresh_token"]
    assert {heard.headers["authorization"] for heard in farm["chatgpt"].heard} == {"Bearer access-2"}


async def test_a_login_that_is_refused_is_over_and_says_so_without_a_token(
    ctx: Context, farm: Farm, authority: Authority
) -> None:
    await log_in(ctx, authority)
    await ctx.db(expire, -1)
    authority.status = 400

    with pytest.raises(ProviderError) as refused:
        await say(ctx)

    assert refused.value.kind == "auth_permanent"
    assert refused.value.message == "mine: the login is not valid any more: invalid_grant"
    now = await login.status(ctx, NOBODY)
    assert (now.authenticated, now.error) == (False, "the login is not valid any more: invalid_grant")
    assert not farm["chatgpt"].heard, "nothing is asked without a token"
    authority.status = 200
    await log_in(ctx, authority)
    farm["chatgpt"].will(answer("again"))
    assert await say(ctx) == "again"


async def test_an_authority_that_is_away_does_not_end_a_token_that_is_still_good(
    ctx: Context, farm: Farm, authority: Authority
) -> None:
    await log_in(ctx, authority)
    await ctx.db(expire, 120)
    authority.status = 503
    farm["chatgpt"].will(answer("still here"))

    assert await say(ctx) == "still here"
    await ctx.db(expire, -1)
    await providers.applied(ctx)
    with pytest.raises(ProviderError) as away:
        await say(ctx)
    assert away.value.kind == "server_error"


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:1455/auth/callback?code=code-0&state=of-somebody-else",
        "http://localhost:1455/auth/callback?error=access_denied",
        "nonsense",
    ],
)
async def test_an_address_of_no_login_is_refused(ctx: Context, url: str) -> None:
    await login.start(ctx, NOBODY)

    with pytest.raises(Rejected) as refused:
        await login.callback(ctx, login.Returned(redirect_url=url))

    assert refused.value.err.details["reason"] == "no_such_login"


async def test_a_login_ends_once_and_belongs_to_who_began_it(ctx: Context, authority: Authority) -> None:
    begun = await login.start(ctx, NOBODY)
    assert begun.auth_url is not None
    back = login.Returned(redirect_url=authority.browser(begun.auth_url))
    other = Context(ctx.house, Caller(user_id="eve", role=Role.ADMIN, tenant_id=new_id()))

    with pytest.raises(Rejected):
        await login.callback(other, back)
    await login.callback(ctx, back)
    with pytest.raises(Rejected):
        await login.callback(ctx, back)


async def test_who_logs_out_is_forgotten(ctx: Context, authority: Authority) -> None:
    await log_in(ctx, authority)

    assert (await login.logout(ctx, NOBODY)).status == "logged out"

    assert await ctx.db(stored) == []
    with pytest.raises(ProviderError) as refused:
        await say(ctx)
    assert refused.value.message == "mine: nobody has logged in"
    assert (await providers.get(ctx, ProviderId(id="mine"))).usable, "it can be asked once somebody has"


@pytest.mark.parametrize("text", ["", "a", "a.b.c", "a.!!.c", jwt({}), "x." + "QQ" + ".y"])
def test_an_id_token_that_says_nothing_is_an_account_without_a_name(text: str) -> None:
    assert account_of(text) == {}
