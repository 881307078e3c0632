"""Vendors that operators add, change, try and remove, against the farm. Contract: providers.md §3, edge-http.md §7."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from goclaw.actors.engine.added import Opening
from goclaw.actors.engine.desk import ModelDesk
from goclaw.actors.engine.roster import SUPERVISOR
from goclaw.domain.access import MASTER_TENANT, Caller, Role
from goclaw.domain.address import agent, provider
from goclaw.domain.agent import GetProfile
from goclaw.domain.chat import ChatMessage, ChatRequest
from goclaw.domain.errors import Err, ProviderError, Rejected
from goclaw.domain.events import ProviderStatus, of_admins
from goclaw.domain.ids import new_id
from goclaw.domain.model import BorrowProvider, Candidate, Enter, Entered, Left
from goclaw.operations import models as listed
from goclaw.operations import providers
from goclaw.operations.context import Context, House
from goclaw.operations.params import decode
from goclaw.operations.provider_shapes import (
    CreateProvider,
    DeleteProvider,
    ProviderId,
    ProviderView,
    ToggleProvider,
    UpdateProvider,
    VerifyProvider,
)
from goclaw.providers.failover import Failover
from goclaw.providers.provider import Provider
from goclaw.runtime.actor import Actor, handles
from goclaw.runtime.actor import Context as ActorContext
from goclaw.runtime.address import Address
from goclaw.runtime.child import Restart, child
from goclaw.runtime.inbox import inbox
from goclaw.runtime.supervisor import StartChild
from goclaw.runtime.system import System
from goclaw.security.box import Box
from goclaw.security.known import Known
from goclaw.settings.load import load
from goclaw.settings.providers import Provider as Configured
from goclaw.settings.providers import Providers
from goclaw.settings.section import Secret
from goclaw.settings.settings import Settings
from goclaw.stores import providers as stored
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, transaction
from tests.actors.house import KEY as SESSION
from tests.actors.house import house as open_house
from tests.actors.talk import Talk
from tests.fakes.vendors.farm import Farm
from tests.fakes.vendors.script import Refuse, answer

KEY = b"k" * 32
SETTINGS = Providers(allow_private=True, named={"groq": Configured(api_key=Secret("of-the-file"), api_base="http://f")})


def house_of(system: System, box: Box | None = None, settings: Providers = SETTINGS) -> House:
    return House(Settings(providers=settings), system, "0", new_id(), 0, box=box or Box(KEY))


@pytest.fixture
async def house(database: Database, tmp_path: Path) -> AsyncIterator[House]:
    opening = Opening(Box(KEY), allow_private=True)
    async with open_house(database, tmp_path, providers=SETTINGS, opening=opening) as system:
        yield house_of(system)


@pytest.fixture
def ctx(house: House) -> Context:
    return Context(house, Caller(user_id="lan", role=Role.ADMIN))


async def make(ctx: Context, name: str = "acme", **more: Any) -> ProviderView:
    given = {"name": name, "provider_type": "openai_compat", "api_key": "key", **more}
    return await providers.create(ctx, decode(CreateProvider, given))


async def change(ctx: Context, id: str, **more: Any) -> ProviderView:
    return await providers.update(ctx, decode(UpdateProvider, {"id": id, **more}))


async def refusal(asked: Any) -> Err:
    with pytest.raises(Rejected) as refused:
        await asked
    return refused.value.err


async def say(ctx: Context, name: str = "acme", text: str = "hello") -> str:
    """What the provider answers to a call that is let in by its actor."""
    entered = await ctx.ask(provider(name), Enter(model=""), within=5)
    assert isinstance(entered, Entered)
    ask = ChatRequest(messages=(ChatMessage(role="user", content=text),), model="gpt-4o")
    async with entered.client.stream(ask) as chunks:
        got = [chunk async for chunk in chunks]
    assert got[-1].done is not None
    return str(got[-1].done.content)


@transaction
async def key_of(db: Connection, name: str) -> str:
    return str((await (await db.execute("SELECT api_key FROM llm_providers WHERE name = %s", [name])).fetchall())[0][0])


async def test_an_added_provider_answers_at_once_and_its_key_is_sealed(ctx: Context, farm: Farm) -> None:
    vendor = farm["openai"]
    vendor.will(answer("here I am"))

    made = await make(ctx, api_base=vendor.url + "/", api_key="sk-secret-1", settings={"models": ["gpt-4o-mini"]})

    assert (made.api_key, made.has_api_key, made.enabled, made.usable) == ("***", True, True, True)
    assert (made.api_base, made.display_name) == (vendor.url, "acme")
    assert await say(ctx) == "here I am"
    assert vendor.heard[-1].key == "sk-secret-1"
    kept = await ctx.db(key_of, "acme")
    assert kept.startswith("aes-gcm2:")
    assert "secret" not in kept


async def test_what_a_row_must_not_tell_is_known_before_anybody_asks_it(database: Database, tmp_path: Path) -> None:
    known = Known()
    opening = Opening(Box(KEY), allow_private=True, known=known)
    async with open_house(database, tmp_path, providers=SETTINGS, opening=opening) as system:
        ctx = Context(house_of(system), Caller(user_id="lan", role=Role.ADMIN))
        headers = {"x-team": "blue-team", "x-auth": "Bearer of-headers"}
        made = await make(ctx, api_base="http://f", api_key="first-key,second-key", settings={"headers": headers})
        assert known.forms.values == ["Bearer of-headers", "of-headers", "second-key", "first-key"]

        await change(ctx, made.id, api_key="third-key")
        assert {"first-key", "third-key"} <= set(known.forms.values)  # the old one for ten minutes more

        await providers.delete(ctx, DeleteProvider(id=made.id))
        assert "third-key" in known.forms.values
        assert known._held == {}


async def test_a_masked_key_keeps_the_stored_one_and_an_empty_one_clears_it(ctx: Context, farm: Farm) -> None:
    made = await make(ctx, api_base=farm["openai"].url, api_key="one", settings={"headers": {"x-team": "blue"}})
    assert made.settings["headers"] == {"x-team": "***"}

    kept = await change(ctx, made.id, api_key="***", display_name="Acme", settings=made.settings)
    await say(ctx)
    assert (kept.has_api_key, kept.display_name) == (True, "Acme")
    assert (farm["openai"].heard[-1].key, farm["openai"].heard[-1].headers["x-team"]) == ("one", "blue")
    cleared = await change(ctx, made.id, api_key="")
    assert (cleared.has_api_key, cleared.api_key) == (False, "")


async def test_a_change_is_seen_by_the_next_call_and_a_stream_goes_on(ctx: Context, farm: Farm) -> None:
    first, second = farm["openai"], farm["groq"]
    first.will(answer("one two three"))
    second.will(answer("from the second"))
    made = await make(ctx, api_base=first.url)
    lent: Provider = await ctx.ask(provider("acme"), BorrowProvider(), within=5)
    ask = ChatRequest(messages=(ChatMessage(role="user", content="hello"),), model="gpt-4o")

    async with lent.stream(ask) as chunks:
        said = [(await anext(chunks)).content]
        await change(ctx, made.id, api_base=second.url)
        assert await say(ctx) == "from the second"
        await providers.delete(ctx, DeleteProvider(id=made.id))
        said += [chunk.content async for chunk in chunks]

    assert "".join(said) == "one two three"
    assert ctx.system.find(provider("acme")) is None


async def test_a_row_stands_in_the_place_of_a_configured_vendor_of_its_name(ctx: Context, farm: Farm) -> None:
    farm["groq"].will(answer("from the store"))
    shown = [
        (view.name, view.source) for view in (await providers.list_providers(ctx, providers.ListProviders())).providers
    ]
    assert shown == [("offline", "builtin"), ("groq", "config")]

    made = await make(ctx, "groq", provider_type="groq", api_base=farm["groq"].url)

    assert await say(ctx, "groq") == "from the store"
    listed_now = (await providers.list_providers(ctx, providers.ListProviders())).providers
    assert [(view.name, view.source) for view in listed_now] == [("offline", "builtin"), ("groq", "store")]
    await providers.delete(ctx, DeleteProvider(id=made.id))
    lent = await ctx.ask(provider("groq"), BorrowProvider(), within=5)
    assert lent.vendor.base_url == "http://f", "the configured one is back"


async def test_a_switched_off_provider_is_not_asked(ctx: Context, farm: Farm) -> None:
    made = await make(ctx, api_base=farm["openai"].url)

    off = await providers.toggle(ctx, ToggleProvider(id=made.id))

    assert (off.enabled, off.usable) == (False, False)
    with pytest.raises(ProviderError, match="acme is turned off"):
        await ctx.ask(provider("acme"), Enter(model=""), within=5)
    assert (await providers.toggle(ctx, ToggleProvider(id=made.id))).usable


async def test_a_key_sealed_with_another_key_is_shown_as_broken_and_can_be_written_again(
    ctx: Context, database: Database, tmp_path: Path, farm: Farm
) -> None:
    """SEC-29."""
    made = await make(ctx, api_base=farm["openai"].url)
    kept = await ctx.db(key_of, "acme")
    other = Box(b"o" * 32)

    async with open_house(database, tmp_path, providers=SETTINGS, opening=Opening(other, allow_private=True)) as system:
        here = Context(house_of(system, other), Caller(user_id="lan", role=Role.ADMIN))
        broken = await providers.get(here, ProviderId(id=made.id))
        assert (broken.has_api_key, broken.usable) == (True, False)
        assert broken.error == "acme: its key cannot be opened: write it again"
        assert (await providers.verify(here, VerifyProvider(id="acme"))).valid is False
        again = await change(here, made.id, api_key="new")
        assert again.usable
        assert await ctx.db(key_of, "acme") != kept


async def test_several_keys_are_one_ring(ctx: Context, farm: Farm) -> None:
    await make(ctx, api_base=farm["openai"].url, api_key=None, api_keys=["bad-key", "good"])

    first = await ctx.ask(provider("acme"), Enter(model="m"), within=5)
    assert isinstance(first, Entered)
    assert (first.client.slots, first.slot) == (2, 0)
    second = await ctx.ask(provider("acme"), Enter(model="m", tried=(0,)), within=5)
    assert isinstance(second, Entered)
    assert second.slot == 1


async def test_verify_says_what_is_wrong(ctx: Context, farm: Farm) -> None:
    good = await make(ctx, api_base=farm["openai"].url)
    bad = await make(ctx, "wrong", api_base=farm["openai"].url, api_key="bad-key")
    nobody = await make(ctx, "nobody", api_base="http://127.0.0.1:1029/v1")

    assert (await providers.verify(ctx, VerifyProvider(id=good.id))).valid
    farm["openai"].will(answer("H"))
    assert (await providers.verify(ctx, VerifyProvider(id=good.id, model="gpt-4o"))).valid
    assert farm["openai"].heard[-1].body["max_tokens"] == 1
    for id, part in ((bad.id, "wrong: "), (nobody.id, "cannot connect")):
        said = await providers.verify(ctx, VerifyProvider(id=id))
        assert not said.valid
        assert part in str(said.error)
        assert "bad-key" not in str(said.error)
    assert (await providers.verify(ctx, VerifyProvider(id="offline", model="offline-1"))).valid


async def test_models_are_the_vendors_or_those_that_were_named(ctx: Context, farm: Farm) -> None:
    await make(ctx, api_base=farm["openai"].url)
    await make(ctx, "silent", provider_type="perplexity", api_base=farm["perplexity"].url, settings={"models": ["own"]})
    await make(ctx, "wrong", api_base=farm["openai"].url, api_key="bad-key")

    found = await providers.models(ctx, ProviderId(id="acme"))
    assert found.error is None
    assert {"gpt-4o"} <= {model.id for model in found.models}
    assert all(model.context_window > 0 for model in found.models)
    failed = await providers.models(ctx, ProviderId(id="wrong"))
    assert (failed.models, bool(failed.error)) == ([], True)
    every = (await listed.models(ctx, listed.ListModels()))["models"]
    assert {"offline", "acme"} <= {model["provider"] for model in every}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": "Has Space"}, "name"),
        ({"name": "offline"}, "name"),
        ({"provider_type": "nonsense"}, "provider_type"),
        ({"api_base": None}, "api_base"),
        ({"api_base": "ftp://127.0.0.1/"}, "api_base"),
        ({"api_base": "http://169.254.169.254/v1"}, "api_base"),
        ({"api_base": "http://metadata.google.internal/v1"}, "api_base"),
        ({"api_base": "http://user@127.0.0.1/v1"}, "api_base"),
        ({"api_key": "a\nb"}, "api_key"),
        ({"settings": {"timeout_sec": 0}}, "settings.timeout_sec"),
        ({"settings": {"max_concurrency": "many"}}, "settings.max_concurrency"),
        ({"settings": {"protocol": "smoke"}}, "settings.protocol"),
        ({"settings": {"api_key": "in clear"}}, "settings.api_key"),
        ({"settings": {"extra": {"inner": [{"client_secret": "in clear"}]}}}, "settings.client_secret"),
        ({"settings": {"headers": {"X-Api-Key": "in clear"}}}, "settings.X-Api-Key"),
        ({"settings": {"headers": {"Authorization": "Bearer in clear"}}}, "settings.Authorization"),
    ],
)
async def test_what_cannot_be_is_refused_by_name_and_nothing_is_stored(
    ctx: Context, given: dict[str, Any], field: str
) -> None:
    said = {"name": "acme", "provider_type": "openai_compat", "api_base": "http://127.0.0.1:1/v1", **given}

    with pytest.raises(Rejected) as refused:
        await providers.create(ctx, decode(CreateProvider, said))

    assert refused.value.err.details["field"] == field
    assert await ctx.db(stored.page, tenant=MASTER_TENANT) == []


async def test_private_addresses_need_the_operators_word(ctx: Context, house: House) -> None:
    """SEC-18, of providers."""
    strict = Context(house_of(house.system, settings=Providers()), Caller(user_id="lan", role=Role.ADMIN))

    for base in ("http://127.0.0.1:1234/v1", "http://10.0.0.7/v1", "http://localhost:1234/v1"):
        refused = await refusal(make(strict, api_base=base))
        assert refused.details["field"] == "api_base"
    made = await make(strict, "mine", provider_type="ollama", api_base="http://127.0.0.1:11434/v1")
    assert made.api_base == "http://127.0.0.1:11434/v1", "an Ollama is usually on this machine"
    refused = await refusal(make(strict, "other", provider_type="ollama", api_base="http://10.0.0.7:11434/v1"))
    assert refused.details["field"] == "api_base"


async def test_names_are_taken_once_and_types_stay(ctx: Context, farm: Farm) -> None:
    made = await make(ctx, api_base=farm["openai"].url)
    other = await make(ctx, "other", api_base=farm["openai"].url)

    assert (await refusal(make(ctx, api_base=farm["openai"].url))).code == "ALREADY_EXISTS"
    assert (await refusal(change(ctx, other.id, name="acme"))).code == "ALREADY_EXISTS"
    assert (await refusal(change(ctx, made.id, provider_type="groq"))).details["field"] == "provider_type"
    assert (await refusal(change(ctx, "groq", enabled=False))).details["reason"] == "configured"
    assert (await refusal(providers.delete(ctx, DeleteProvider(id="nobody")))).code == "NOT_FOUND"


async def test_a_provider_that_agents_use_goes_only_by_force(ctx: Context, farm: Farm) -> None:
    made = await make(ctx, api_base=farm["openai"].url)
    await ctx.db(name_provider, "acme")

    refused = await refusal(providers.delete(ctx, DeleteProvider(id=made.id)))

    assert refused.details == {"reason": "in_use", "kind": "provider", "id": "acme", "agents": ["default"]}
    assert (await providers.get(ctx, ProviderId(id=made.id))).agents == 1
    assert (await providers.delete(ctx, DeleteProvider(id=made.id, force=True))).deleted


@transaction
async def name_provider(db: Connection, name: str) -> None:
    await db.execute("UPDATE agents SET provider = %s WHERE agent_key = 'default'", [name])


async def test_agents_that_name_nobody_are_answered_by_the_first_that_was_added(
    database: Database, tmp_path: Path, farm: Farm
) -> None:
    settings = Providers(allow_private=True)
    opening = Opening(Box(KEY), allow_private=True)
    async with open_house(database, tmp_path, providers=settings, opening=opening) as system:
        ctx = Context(house_of(system, settings=settings), Caller(user_id="lan", role=Role.ADMIN))
        before = await system.ask(agent(MASTER_TENANT, "default"), GetProfile(), within=5)
        assert (before.provider, before.model) == ("offline", "offline-1")

        made = await make(ctx, api_base=farm["openai"].url, settings={"models": ["gpt-4o", "gpt-4o-mini"]})

        now = await system.ask(agent(MASTER_TENANT, "default"), GetProfile(), within=5)
        assert [str(each) for each in now.candidates] == ["acme:gpt-4o", "acme:gpt-4o-mini"]
        await providers.delete(ctx, DeleteProvider(id=made.id))
        after = await system.ask(agent(MASTER_TENANT, "default"), GetProfile(), within=5)
        assert after.provider == "offline"


@transaction
async def wish(db: Connection, reasoning: str | None) -> None:
    await db.execute("UPDATE agents SET reasoning_config = %s::jsonb WHERE agent_key = 'default'", [reasoning])


@pytest.mark.parametrize(
    ("own", "effort", "exact"),
    [
        (None, "high", True),
        ('{"effort": "low"}', "low", False),
        ('{"effort": "low", "override_mode": "inherit"}', "high", True),
    ],
)
async def test_a_provider_says_how_hard_its_agents_think_that_do_not(
    ctx: Context, farm: Farm, own: str | None, effort: str, exact: bool
) -> None:
    await ctx.db(wish, own)
    await ctx.db(name_provider, "acme")
    usual = {"effort": "high", "fallback": "off"}
    await make(ctx, api_base=farm["openai"].url, settings={"models": ["o3"], "reasoning_defaults": usual})

    profile = await ctx.ask(agent(MASTER_TENANT, "default"), GetProfile(), within=5)

    assert (profile.effort, profile.exact_effort) == (effort, exact)
    error = await refusal(make(ctx, "zeta", settings={"reasoning_defaults": {"effort": "much"}}))
    assert "reasoning_defaults" in error.details["field"]


@pytest.mark.parametrize(
    ("strategy", "first", "then"),
    [
        ("priority_order", ["acme:o3", "beta:o3"], ["acme:o3", "beta:o3"]),
        ("primary_first", ["acme:o3", "beta:o3"], ["acme:o3", "beta:o3"]),
        ("round_robin", ["beta:o3", "acme:o3"], ["acme:o3", "beta:o3"]),
        ("manual", ["acme:o3"], ["acme:o3"]),
    ],
)
async def test_accounts_of_a_pool_answer_with_the_same_model(
    ctx: Context, farm: Farm, strategy: str, first: list[str], then: list[str]
) -> None:
    """An account of another vendor, and one that does not exist, are in nobody's pool (providers.md §7.3)."""
    await ctx.db(name_provider, "acme")
    others = ["beta", "claude", "nobody", "acme"]
    pool = {"strategy": strategy, "extra_provider_names": others}
    await make(ctx, api_base=farm["openai"].url, settings={"models": ["o3"], "codex_pool": pool})
    await make(ctx, "beta", api_base=farm["openai"].url)
    await make(ctx, "claude", provider_type="anthropic_native", api_base=farm["anthropic"].url)

    asked = [await ctx.ask(agent(MASTER_TENANT, "default"), GetProfile(), within=5) for _ in range(2)]

    assert [[str(each) for each in profile.candidates] for profile in asked] == [first, then]


class Ear(Actor):
    """Keeps what admins are told of providers."""

    def __init__(self, heard: trio.MemorySendChannel[dict[str, Any]]) -> None:
        self.heard = heard

    async def on_start(self, ctx: ActorContext) -> None:
        ctx.join(of_admins(MASTER_TENANT))

    @handles
    async def hear(self, ctx: ActorContext, news: ProviderStatus) -> None:
        self.heard.send_nowait(msgspec.json.decode(news.body))


async def test_admins_hear_of_a_model_that_rests_and_that_it_is_back(
    database: Database, tmp_path: Path, farm: Farm
) -> None:
    send, heard = trio.open_memory_channel[dict[str, Any]](10)
    opening = Opening(Box(KEY), allow_private=True)
    ear = [child("ear", Ear, send)]
    async with open_house(database, tmp_path, providers=SETTINGS, opening=opening, more=ear) as system:
        ctx = Context(house_of(system), Caller(user_id="lan", role=Role.ADMIN))
        await make(ctx, api_base=farm["openai"].url)
        await ctx.ask(provider("acme"), Enter(model="m"), within=5)
        with trio.fail_after(5):
            system.tell(provider("acme"), Left(model="m", slot=0, trouble="billing"))
            told = await heard.receive()
            assert (told["provider"], told["model"], told["usable"], told["reason"]) == ("acme", "m", False, "billing")
            assert told["cooldown_until"] > 0
            view = await providers.get(ctx, ProviderId(id="acme"))
            assert [(rest.model, rest.reason, rest.slot) for rest in view.cooldowns] == [("m", "billing", None)]
            system.tell(provider("acme"), Left(model="m", slot=0, answered=True))
            assert await heard.receive() == {"provider": "acme", "model": "m", "usable": True}
        assert (await providers.get(ctx, ProviderId(id="acme"))).cooldowns == []


async def test_a_refusal_of_the_vendor_is_told_without_the_key(ctx: Context, farm: Farm) -> None:
    """PR-30."""
    farm["openai"].will(Refuse(401, message="the key sk-very-secret is wrong"))
    await make(ctx, api_base=farm["openai"].url, api_key="sk-very-secret")

    said = await providers.verify(ctx, VerifyProvider(id="acme", model="gpt-4o"))

    assert (said.valid, said.latency_ms) == (False, None)
    assert "the key" in str(said.error)
    assert "sk-very-secret" not in str(said.error)


async def test_what_a_provider_had_to_do_and_who_stands_in_for_it_is_shown(ctx: Context, farm: Farm) -> None:
    vendor = farm["openai"]
    await make(ctx, api_base=vendor.url, settings={"models": ["gpt-4o", "gpt-4o-mini"]})
    await ctx.db(name_provider, "acme")
    talk = Talk(ctx.system.database, ctx.system, None, SESSION)
    with inbox(ctx.system, Address("edge", "http", "ear"), "Ear", talk.hear) as ear:
        ear.join(of_admins(MASTER_TENANT))
        vendor.will(Refuse(402, message="no money"), answer("the other one"))
        first = await talk.say("hello")
        assert [result.content for result in await talk.ended(first.run_id)] == ["the other one"]
        vendor.will(*[Refuse(400, message="what?")] * 2)
        second = await talk.say("hello")
        (failed,) = await talk.ended(second.run_id)

    shown = await providers.get(ctx, ProviderId(id="acme"))
    (listed_one,) = [
        one for one in (await providers.list_providers(ctx, providers.ListProviders())).providers if one.name == "acme"
    ]
    assert failed.error is not None
    assert (shown.calls_24h, shown.errors_24h, shown.fallbacks, shown.agents) == (2, 1, 1, 1)
    assert shown.order == ["acme:gpt-4o", "acme:gpt-4o-mini"]
    assert listed_one.calls_24h == 2
    assert ctx.system.meter.value("provider_errors_total", "acme", "billing") == 1


async def test_keys_of_the_environment_are_listed_and_masked(database: Database, tmp_path: Path) -> None:
    """PR-02. A plain name of a vendor's is read where ours is absent."""
    keys = {"OPENAI_API_KEY": "sk-open", "GOCLAW_ANTHROPIC_API_KEY": "sk-anth", "HOME": str(tmp_path)}
    settings = load(None, keys, {}).settings.providers
    async with open_house(database, tmp_path, providers=settings) as system:
        ctx = Context(house_of(system, settings=settings), Caller(user_id="lan", role=Role.ADMIN))
        found = (await providers.list_providers(ctx, providers.ListProviders())).providers

    keyed = {one.name: (one.api_key, one.has_api_key, one.usable) for one in found if one.name != "offline"}
    assert keyed == {"openai": ("***", True, True), "anthropic": ("***", True, True)}
    assert b"sk-" not in msgspec.json.encode(found)


async def test_without_a_claude_program_nobody_is_logged_in_with_it(ctx: Context) -> None:
    found = await providers.claude_login(ctx, providers.ListProviders())

    assert (found.installed, found.logged_in, found.error) == (False, False, "no claude program is configured")


async def test_an_agent_program_is_added_asked_changed_and_removed(ctx: Context, tmp_path: Path) -> None:
    agent_program = Path(__file__).parents[1] / "fakes/agents/acp.py"
    args = ["-S", "-I", str(agent_program), "--journal", str(tmp_path / "journal")]
    settings = {"args": args, "idle_ttl": "5m", "perm_mode": "deny-all", "work_dir": str(tmp_path)}
    made = await make(ctx, "helper", provider_type="acp", api_base=sys.executable, api_key=None, settings=settings)

    assert (made.provider_type, made.usable, made.settings["idle_ttl"]) == ("acp", True, "5m")
    assert await say(ctx, "helper") != ""
    changed = await change(ctx, made.id, settings={**settings, "idle_ttl": 60})
    assert await say(ctx, "helper") != ""
    refused = await refusal(change(ctx, changed.id, settings={**settings, "perm_mode": "whatever"}))
    assert refused.details["field"] == "settings.perm_mode"
    assert not (await providers.toggle(ctx, ToggleProvider(id=made.id))).usable
    assert (await providers.delete(ctx, DeleteProvider(id=made.id))).deleted
    assert ctx.system.find(provider("helper")) is None


async def test_a_claude_program_may_be_added_without_an_address(ctx: Context) -> None:
    made = await make(ctx, "claude-here", provider_type="claude_cli", api_key=None, settings={"model": "opus"})

    assert (made.provider_type, made.usable) == ("claude_cli", True)
    found = await providers.models(ctx, ProviderId(id=made.id))
    assert [model.id for model in found.models][:1] == ["opus"]


@transaction
async def another_tenant(db: Connection, tenant: str, base: str) -> None:
    await db.execute("INSERT INTO tenants (id, slug, name) VALUES (%s, 'other', 'Other')", [tenant])
    await db.execute(
        "INSERT INTO llm_providers (id, tenant_id, name, api_base, api_key) VALUES (%s, %s, 'groq', %s, 'in-clear')",
        [new_id(), tenant, base],
    )


class Asker(Actor):
    """Asks through the desk, as a run does."""

    def __init__(self, tenant: str, said: trio.MemorySendChannel[str]) -> None:
        self.tenant, self.said = tenant, said

    async def live(self, ctx: ActorContext) -> None:
        ask = ChatRequest(messages=(ChatMessage(role="user", content="hello"),), model="m")
        async with Failover([Candidate("groq", "m")], ModelDesk(ctx, self.tenant)).stream(ask) as chunks:
            got = [chunk async for chunk in chunks]
        assert got[-1].done is not None
        await self.said.send(got[-1].done.content)


async def test_a_tenant_asks_its_own_provider_and_nobody_elses(ctx: Context, farm: Farm) -> None:
    tenant = new_id()
    mine, theirs = farm["groq"], farm["openai"]
    await make(ctx, "groq", provider_type="groq", api_base=mine.url)
    await ctx.db(another_tenant, tenant, theirs.url)  # as another node would
    await providers.applied(ctx)
    mine.will(answer("of the master"))
    theirs.will(answer("of the tenant"))
    send, said = trio.open_memory_channel[str](1)

    for name, who in (("of the tenant", tenant), ("of the master", MASTER_TENANT)):
        asker = child(f"asker-{who}", Asker, who, send, restart=Restart.TEMPORARY)
        await ctx.system.ask(SUPERVISOR, StartChild(child=asker), within=5)
        with trio.fail_after(5):
            assert await said.receive() == name
    seen = (await providers.list_providers(ctx, providers.ListProviders())).providers
    assert [one.name for one in seen] == ["offline", "groq"], "a tenant sees its own"
