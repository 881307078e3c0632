"""Agents as clients make, change, share and take them away. Contract: agent-loop.md §19, edge-http.md §5."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from goclaw.domain.access import MASTER_TENANT, Caller, Role
from goclaw.domain.address import ACTIVITY, agent
from goclaw.domain.agent import AgentProfile, GetProfile
from goclaw.domain.errors import Err, Rejected
from goclaw.domain.events import AgentEvent, of_user
from goclaw.domain.ids import new_id
from goclaw.domain.run import RunRequest
from goclaw.domain.session import SessionKey
from goclaw.domain.texts import text_of
from goclaw.edge.ws.news import entry_of
from goclaw.operations import (
    agent_changes,
    agent_files,
    agent_instances,
    agent_overrides,
    agent_shapes,
    agent_shares,
    agents,
    permissions,
    turns,
)
from goclaw.operations.agent_changes import CreateAgent, DeleteAgent, UpdateAgent
from goclaw.operations.agent_shapes import Agent
from goclaw.operations.context import Context, House
from goclaw.operations.params import decode
from goclaw.runtime.address import Address
from goclaw.runtime.inbox import inbox
from goclaw.runtime.message import Message, Told
from goclaw.settings.agents import AgentDefaults
from goclaw.settings.agents import Agents as AgentSettings
from goclaw.settings.providers import Provider, Providers
from goclaw.settings.settings import Settings
from goclaw.stores import agent_shares as stored
from goclaw.stores import agents as rows
from goclaw.stores import context_files
from goclaw.stores.database import Database
from tests.actors.house import house as open_house

VENDORS = Providers(named={"fake": Provider(api_base="http://f", models=("small", "large"))})


@pytest.fixture
async def house(database: Database, tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(database, tmp_path, providers=VENDORS) as system:
        settings = Settings(agents=AgentSettings(defaults=AgentDefaults(workspace=tmp_path)), providers=VENDORS)
        made = House(settings, system, "0", new_id(), 0)
        made.ownership.alone = True
        yield made


def as_(house: House, user: str, role: Role = Role.OPERATOR) -> Context:
    return Context(house, Caller(user_id=user, role=role))


async def make(ctx: Context, key: str = "ada", **more: Any) -> Agent:
    return await agent_changes.create(ctx, decode(CreateAgent, {"agent_key": key, **more}))


async def change(ctx: Context, id: str, **more: Any) -> Agent:
    return await agent_changes.update(ctx, decode(UpdateAgent, {"id": id, **more}))


async def refusal(asked: Any) -> Err:
    with pytest.raises(Rejected) as refused:
        await asked
    return refused.value.err


async def profile(house: House, key: str, user: str = "") -> AgentProfile:
    return await house.system.ask(agent(MASTER_TENANT, key), GetProfile(user_id=user), within=5)


async def keys(ctx: Context, **how: Any) -> list[str]:
    return [one.agent_key for one in (await agents.list_agents(ctx, decode(agents.ListAgents, how))).agents]


async def test_an_agent_is_made_found_and_its_owners(house: House) -> None:
    lan, minh = as_(house, "lan"), as_(house, "minh")

    made = await make(lan, display_name="Ada", provider="", other_config={"emoji": "🦊", "self_evolve": True, "x": 1})

    assert (made.agent_key, made.display_name, made.owner_id, made.my_role) == ("ada", "Ada", "lan", "owner")
    assert (made.agent_type, made.status, made.workspace, made.emoji) == ("open", "active", "ada", "🦊")
    assert (made.provider, made.model) == ("fake", "small"), "who answers, although nobody was named"
    assert made.other_config == {"x": 1, "emoji": "🦊", "self_evolve": True}
    assert (await agents.get_agent(lan, agents.GetAgent(id=made.id))).agent_key == "ada"
    assert (await refusal(agents.get_agent(minh, agents.GetAgent(id="ada")))).code == "NOT_FOUND"
    assert (await keys(lan), await keys(minh)) == (["default", "ada"], ["default"])
    assert await keys(as_(house, "root", Role.ADMIN), search="AD") == ["ada"]
    assert await keys(lan, status="inactive") == []
    page = await agents.list_agents(lan, agents.ListAgents(limit=1))
    assert (len(page.agents), page.total, page.limit) == (1, 2, 1)


async def test_a_key_is_made_of_the_name_and_taken_once(house: House) -> None:
    lan = as_(house, "lan")
    ask = decode(CreateAgent, {"display_name": "Ada  Lovelace!", "monthly_cents": 500})

    made = await agent_changes.create(lan, ask)

    assert (made.agent_key, made.budget_monthly_cents) == ("ada-lovelace", 500)
    assert (await refusal(agent_changes.create(lan, ask))).code == "ALREADY_EXISTS"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "agent_key"),
        ({"agent_key": "Big"}, "agent_key"),
        ({"agent_key": "import"}, "agent_key"),
        ({"agent_key": "default"}, "agent_key"),
        ({"agent_key": "a", "provider": "nobody"}, "provider"),
        ({"agent_key": "a", "workspace": "../b"}, "workspace"),
        ({"agent_key": "a", "status": "summoning"}, "status"),
        ({"agent_key": "a", "other_config": {"thinking_level": "loud"}}, "other_config.thinking_level"),
        ({"agent_key": "a", "other_config": {"x": "y" * 70_000}}, "other_config"),
        ({"agent_key": "a", "shell_deny_groups": {"env_dumb": False}}, "shell_deny_groups"),
        ({"agent_key": "a", "tools_config": {"profile": "nope"}}, "tools_config.profile"),
        ({"agent_key": "a", "tools_config": {"deny": "exec"}}, "tools_config.deny"),
        (
            {"agent_key": "a", "tools_config": {"byProvider": {"x": {"profile": "nope"}}}},
            "tools_config.byProvider.x.profile",
        ),
        ({"agent_key": "a", "other_config": {"loop": {"max_steps": 0}}}, "other_config.loop.max_steps"),
        (
            {"agent_key": "a", "other_config": {"structured_output": {"max_retries": 9}}},
            "other_config.structured_output.max_retries",
        ),
    ],
)
async def test_what_no_agent_can_be_is_refused_by_field(house: House, given: dict[str, Any], field: str) -> None:
    err = await refusal(agent_changes.create(as_(house, "lan"), decode(CreateAgent, given)))

    assert (err.code, err.details["field"]) == ("INVALID_REQUEST", field)
    assert await keys(as_(house, "root", Role.ADMIN)) == ["default"]


@pytest.mark.parametrize(
    "given",
    [
        {"is_default": True},
        {"restrict_to_workspace": False},
        {"workspace": "/etc"},
        {"owner_ids": ["minh"]},
        {"shell_deny_groups": {"env_dump": False}},
    ],
)
async def test_some_things_are_for_admins(house: House, given: dict[str, Any]) -> None:
    assert (await refusal(make(as_(house, "lan"), **given))).code == "FORBIDDEN"
    assert (await make(as_(house, "root", Role.ADMIN), **given)).agent_key == "ada"


async def test_sec10_the_safety_groups_of_an_agent_are_switched_by_admins_who_leave_a_trace(house: House) -> None:
    """SEC-10. What it had and has stands in the audit; the next turn knows."""
    root, heard = as_(house, "root", Role.ADMIN), []

    def hear(message: Message[Any]) -> Told:
        heard.append(message)
        return Told.ACCEPTED

    await make(root, shell_deny_groups={"env_dump": False})
    assert (await profile(house, "ada")).deny_groups == (("env_dump", False),)
    err = await refusal(change(root, "ada", shell_deny_groups={"env_dumb": False}))
    assert (err.code, 'did you mean "env_dump"' in err.details["reason"]) == ("INVALID_REQUEST", True), err.details
    with inbox(house.system, ACTIVITY, "Ear", hear):
        changed = await change(root, "ada", shell_deny_groups={"env_dump": True, "persistence": False})

    assert changed.shell_deny_groups == {"env_dump": True, "persistence": False}
    assert (await profile(house, "ada")).deny_groups == (("env_dump", True), ("persistence", False))
    (switched,) = [one for one in heard if one.action == "deny_groups.changed"]
    assert switched.details["old"] == '{"env_dump":false}'
    assert switched.details["new"] == '{"env_dump":true,"persistence":false}'


async def test_a_change_is_seen_by_the_next_turn_and_by_watchers(house: House) -> None:
    lan, heard = as_(house, "lan"), []

    def hear(message: Message[Any]) -> Told:
        heard.append(message)
        return Told.ACCEPTED

    with inbox(house.system, Address("edge", "http", "ear"), "Ear", hear) as ear:
        ear.join(of_user(MASTER_TENANT, "lan"))
        made = await make(lan, temperature=0.1)
        assert (await profile(house, "ada")).temperature == 0.1

        after = await change(lan, "ada", temperature=None, model="large", description="counts")

    now = await profile(house, made.id)
    assert (after.temperature, now.temperature, now.model, now.description) == (None, None, "large", "counts")
    entry = entry_of(next(news for news in reversed(heard) if isinstance(news, AgentEvent)), "")
    assert entry is not None
    assert entry.event == "agent.updated"
    assert b'"changes":["description","model","temperature"]' in bytes(entry.payload)


async def test_other_config_replaces_and_wins(house: House) -> None:
    lan = as_(house, "lan")
    await make(lan, description="first", other_config={"self_evolve": True, "kept": 1})

    after = await change(lan, "ada", description="loses", other_config={"description": "wins", "memory": None})

    assert after.description == "wins"
    assert after.other_config == {"memory": None, "description": "wins"}
    assert not (await profile(house, "ada")).self_evolve


async def test_every_field_can_be_set_at_birth_and_later(house: House) -> None:
    """What the dashboard's forms and its copies of agents send."""
    root = as_(house, "root", Role.ADMIN)
    wanted: dict[str, Any] = {
        "display_name": "Ada",
        "agent_type": "open",
        "status": "inactive",
        "provider": "fake",
        "model": "large",
        "fallback_models": ["small", "fake/tiny"],
        "context_window": 4096,
        "max_tool_iterations": 7,
        "max_tokens": 100,
        "temperature": 0.5,
        "thinking_level": "low",
        "workspace": "elsewhere",
        "restrict_to_workspace": False,
        "description": "counts",
        "frontmatter": "numbers",
        "emoji": "🦊",
        "avatar": "ada.png",
        "budget_monthly_cents": 500,
        "a2a_public": True,
        "tools_config": {"deny": ["exec"], "byProvider": {"fake": {"profile": "minimal"}}},
        **{name: {"x": 1} for name in agent_shapes.OBJECTS},
        "shell_deny_groups": {"env_dump": False},
        "other_config": {"x": 1, "emoji": "🦊", "description": "counts", "thinking_level": "low"},
    }
    assert {*wanted, "is_default"} == set(agent_shapes.Wanted.__struct_fields__)

    made = await make(root, **wanted)
    await make(root, "bob")
    later = await change(root, "bob", **{**wanted, "workspace": "bob"})

    for one in (made, later):
        assert {name: getattr(one, name) for name in wanted} == {**wanted, "workspace": one.workspace}


async def test_the_key_stays_and_the_default_is_one(house: House) -> None:
    root = as_(house, "root", Role.ADMIN)
    await make(root)

    assert (await refusal(change(root, "ada", agent_key="bob"))).details["field"] == "agent_key"
    assert (await change(root, "ada", agent_key="ada", is_default=True)).is_default
    assert [
        one.agent_key for one in (await agents.list_agents(root, agents.ListAgents())).agents if one.is_default
    ] == ["ada"]
    assert (await refusal(change(root, "ada", is_default=False))).code == "INVALID_REQUEST"
    assert (await refusal(agent_changes.delete(root, DeleteAgent(id="ada")))).code == "FORBIDDEN"
    assert (await profile(house, "default")).key == "default", "that one has the key"


async def test_there_is_a_default_agent_whatever_goes_wrong(house: House) -> None:
    root = as_(house, "root", Role.ADMIN)
    made = await make(root)

    assert (await refusal(make(root, is_default=True))).code == "ALREADY_EXISTS"
    late: dict[str, Any] = {"tenant": MASTER_TENANT, "id": made.id, "version": 7, "by": "root"}
    assert await root.db(rows.change, **late, values={"is_default": True}, texts={}) is None

    assert (await profile(house, "default")).is_default
    assert (await make(root, "eve", is_default=True)).is_default
    assert not (await profile(house, "default")).is_default


async def test_an_agent_is_taken_away_and_its_key_is_free(house: House, tmp_path: Path) -> None:
    lan = as_(house, "lan")
    made = await make(lan)
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / "notes.md").write_text("mine")
    await agent_shares.share(lan, agent_shares.ShareAgent(id="ada", user_id="minh"))

    gone = await agent_changes.delete(lan, DeleteAgent(id="ada", delete_files=True))

    assert (gone.agent_id, gone.removed_bindings) == ("ada", 1)
    assert not (tmp_path / "ada").exists()
    assert (await refusal(profile(house, "ada"))).code == "NOT_FOUND"
    assert (await refusal(profile(house, made.id))).code == "NOT_FOUND"
    assert (await make(lan)).id != made.id


@pytest.mark.parametrize("workspace", [".", "ada/inner", "/"])
async def test_a_workspace_that_others_have_or_hold_is_not_deleted(
    house: House, tmp_path: Path, workspace: str
) -> None:
    root = as_(house, "root", Role.ADMIN)
    (tmp_path / "ada" / "inner").mkdir(parents=True)
    await make(root, "other", workspace="ada/inner")
    await make(root, "ada", workspace=workspace if workspace != "ada/inner" else "ada")

    await agent_changes.delete(root, DeleteAgent(id="ada", delete_files=True))

    assert (tmp_path / "ada" / "inner").is_dir()


async def test_only_active_agents_answer(house: House) -> None:
    """AL-36."""
    lan = as_(house, "lan")
    await make(lan, status="inactive")
    await house.system.database.run(rows.seed, id=new_id(), tenant=MASTER_TENANT, key="x", name="G", owner="system")

    async def send(key: str) -> Any:
        found = await turns.resolve_agent(lan, key)
        request = RunRequest(message="hi")
        return await turns.send(
            lan, run_id=new_id(), agent=found, key=SessionKey(key, "ws:direct:1"), kind="chat", request=request
        )

    err = await refusal(send("ada"))
    assert (err.code, err.details["status"]) == ("UNAVAILABLE", "inactive")
    assert "inactive" in text_of(err, "en")
    await change(lan, "ada", status="active")
    assert (await send("ada")).run_id


async def test_who_shares_an_agent_may_use_it_and_no_more_than_his_role(house: House) -> None:
    lan, minh = as_(house, "lan"), as_(house, "minh")
    await make(lan)
    share = {"id": "ada", "user_id": "minh"}

    first = await agent_shares.share(lan, decode(agent_shares.ShareAgent, share))
    assert (first.role, first.new, first.granted_by) == ("user", True, "lan")
    assert await keys(minh) == ["default", "ada"]
    assert (await agents.get_agent(minh, agents.GetAgent(id="ada"))).my_role == "user"
    assert (await refusal(change(minh, "ada", model="large"))).code == "FORBIDDEN"
    assert (await refusal(agent_shares.list_shares(minh, agent_shares.ListShares(id="ada")))).code == "FORBIDDEN"

    again = await agent_shares.share(lan, decode(agent_shares.ShareAgent, {**share, "role": "operator"}))
    assert (again.role, again.new) == ("operator", False)
    assert (await change(minh, "ada", model="large")).model == "large"
    assert (await refusal(agent_changes.delete(minh, DeleteAgent(id="ada")))).code == "FORBIDDEN"
    listed = await agent_shares.list_shares(lan, agent_shares.ListShares(id="ada"))
    assert [(one.user_id, one.role) for one in listed.shares] == [("minh", "operator")]

    owner = decode(agent_shares.ShareAgent, {"id": "ada", "user_id": "lan"})
    assert (await refusal(agent_shares.share(lan, owner))).code == "INVALID_REQUEST"
    await agent_shares.revoke(lan, decode(agent_shares.RevokeShare, share))
    assert (await refusal(agent_shares.revoke(lan, decode(agent_shares.RevokeShare, share)))).code == "NOT_FOUND"
    assert (await refusal(agents.get_agent(minh, agents.GetAgent(id="ada")))).code == "NOT_FOUND"


async def test_an_override_is_for_one_user_and_at_once(house: House) -> None:
    """AL-30."""
    lan = as_(house, "lan")
    await make(lan, temperature=0.5)
    wish = {"id": "ada", "user_id": "minh", "model": "large", "temperature": 0.9, "thinking_level": "high"}

    await agent_overrides.set_override(lan, decode(agent_overrides.SetOverride, {**wish, "language": "vi"}))

    his, hers = await profile(house, "ada", "minh"), await profile(house, "ada", "lan")
    assert (his.provider, his.model, his.temperature, his.effort, his.language) == ("fake", "large", 0.9, "high", "vi")
    assert (hers.model, hers.temperature, hers.effort, hers.language) == ("small", 0.5, "off", "")
    offline = {"id": "ada", "user_id": "minh", "provider": "offline"}
    await agent_overrides.set_override(lan, decode(agent_overrides.SetOverride, offline))
    assert (await profile(house, "ada", "minh")).model != "large", "a model is its own provider's"
    listed = await agent_overrides.list_overrides(lan, agent_overrides.ListOverrides(id="ada"))
    assert [(one.user_id, one.provider, one.settings) for one in listed.overrides] == [("minh", "offline", {})]

    assert (
        await refusal(agent_overrides.set_override(lan, decode(agent_overrides.SetOverride, {**wish, "provider": "x"})))
    ).details["field"] == "provider"
    clear = agent_overrides.OfUser(id="ada", user_id="minh")
    await agent_overrides.clear_override(lan, clear)
    assert (await profile(house, "ada", "minh")).provider == "fake"
    assert (await refusal(agent_overrides.clear_override(lan, clear))).code == "NOT_FOUND"


async def test_another_model_for_all_leaves_the_override(house: House) -> None:
    root = as_(house, "root", Role.ADMIN)
    await make(root)
    wish = agent_overrides.SetOverride(id="ada", user_id="minh", model="large")
    await agent_overrides.set_override(root, wish)

    await change(root, "ada", provider="offline")

    assert ((await profile(house, "ada", "minh")).provider, (await profile(house, "ada", "minh")).model) == (
        "offline",
        "large",
    )


async def test_files_of_an_agent_are_listed_read_and_written(house: House) -> None:
    root = as_(house, "root", Role.ADMIN)
    made = await make(root, agent_type="predefined")

    listed = {
        file.name: file for file in (await agent_files.list_files(root, agent_files.ListFiles(agent_id="ada"))).files
    }

    assert len(listed) == 10
    assert [name for name, file in listed.items() if file.missing] == [
        "USER.md",
        "BOOTSTRAP.md",
        "MEMORY.json",
        "HEARTBEAT.md",
        "TOOLS.md",
    ]
    said = "- Name: Zoe\n- Emoji: 🐝\n"
    written = await agent_files.set_file(root, agent_files.SetFile(agent_id="ada", name="IDENTITY.md", content=said))
    assert (written.file.size, written.propagated) == (len(said.encode()), 0)
    assert (
        await agent_files.get_file(root, agent_files.GetFile(agent_id="ada", name="IDENTITY.md"))
    ).file.content == said
    assert (await profile(house, "ada")).name == "Zoe"
    await change(root, "ada", display_name="Bea")
    assert (
        await agent_files.get_file(root, agent_files.GetFile(agent_id="ada", name="IDENTITY.md"))
    ).file.content == said.replace("Zoe", "Bea")
    await agent_files.set_file(root, agent_files.SetFile(agent_id="ada", name="HEARTBEAT.md", content="- look\n"))
    assert (
        await agent_files.get_file(root, agent_files.GetFile(agent_id=made.id, name="HEARTBEAT.md"))
    ).file.content == "- look\n"
    assert (await refusal(agent_files.get_file(root, agent_files.GetFile(agent_id="ada", name="passwd")))).details[
        "field"
    ] == "name"


async def test_a_file_is_given_to_everybody_who_has_one(house: House) -> None:
    root = as_(house, "root", Role.ADMIN)
    made = await make(root)
    for user in ("lan", "minh"):
        seeds = {"SOUL.md": "first"}
        await root.db(context_files.meet, tenant=MASTER_TENANT, agent=made.id, user=user, seeds=seeds)

    alone = await agent_files.set_file(root, agent_files.SetFile(agent_id="ada", name="SOUL.md", content="second"))
    assert alone.propagated == 0
    spread = await agent_files.set_file(
        root, agent_files.SetFile(agent_id="ada", name="SOUL.md", content="third", propagate=True)
    )

    assert spread.propagated == 2
    (his,) = await root.db(context_files.of_user, tenant=MASTER_TENANT, agent=made.id, user="lan")
    assert his.content == "third"


async def test_who_talked_to_an_agent(house: House) -> None:
    lan, minh = as_(house, "lan"), as_(house, "minh")
    made = await make(lan)
    seeds = {"USER.md": "a stranger", "BOOTSTRAP.md": "ask"}
    await lan.db(context_files.meet, tenant=MASTER_TENANT, agent=made.id, user="minh", seeds=seeds)

    page = await agent_instances.list_instances(lan, agent_instances.ListInstances(id="ada"))
    assert [(one.user_id, one.file_count, one.metadata) for one in page.instances] == [("minh", 2, {})]
    whose = {"id": "ada", "user_id": "minh"}
    ask = decode(agent_instances.WriteFile, {**whose, "file_name": "USER.md", "content": "Minh"})
    assert (await agent_instances.write_file(lan, ask)).size == 4
    files = await agent_instances.list_files(lan, decode(agent_instances.OneInstance, whose))
    assert [(file.file_name, file.content) for file in files.files] == [("BOOTSTRAP.md", "ask"), ("USER.md", "Minh")]
    other = decode(agent_instances.WriteFile, {**whose, "file_name": "SOUL.md", "content": "x"})
    assert (await refusal(agent_instances.write_file(lan, other))).code == "FORBIDDEN"

    async def describe(**metadata: Any) -> dict[str, Any]:
        said = agent_instances.DescribeInstance(id="ada", user_id="minh", metadata=metadata)
        return (await agent_instances.describe(lan, said)).metadata

    assert await describe(display_name="Minh", city="Huế") == {"display_name": "Minh", "city": "Huế"}
    assert await describe(city=None) == {"display_name": "Minh"}
    assert (await refusal(describe(long="x" * 65_530))).details["field"] == "metadata"
    assert await describe() == {"display_name": "Minh"}
    assert (await refusal(agent_instances.list_instances(minh, agent_instances.ListInstances(id="ada")))).code == (
        "NOT_FOUND"
    )


async def test_file_writers_of_a_group_are_named_and_nobody_else_is_one(house: House) -> None:
    root = as_(house, "root", Role.ADMIN)
    base = {"agentId": "default", "configType": "file_writer", "userId": "lan"}

    async def writes(user: str, scope: str = "group:tg:7") -> bool:
        agent_id = (await profile(house, "default")).id
        return await root.db(stored.may_write, tenant=MASTER_TENANT, agent=agent_id, scope=scope, users=[user])

    async def grant(scope: str, permission: str = "allow") -> None:
        asked = {**base, "scope": scope, "permission": permission}
        await permissions.grant(root, decode(permissions.GrantPermission, asked))

    assert not await writes("lan")
    await grant("group:tg:7")
    assert (await writes("lan"), await writes("minh"), await writes("lan", "group:tg:8")) == (True, False, False)
    await grant("group:*")
    await grant("group:tg:8", "deny")
    assert (await writes("lan", "group:tg:9"), await writes("lan", "group:tg:8")) == (True, False)
    listed = await permissions.list_permissions(root, decode(permissions.ListPermissions, {"agentId": "default"}))
    assert [one.scope for one in listed.permissions] == ["group:*", "group:tg:7", "group:tg:8"]
    await permissions.revoke(root, decode(permissions.OnePermission, {**base, "scope": "group:tg:7"}))
    assert (await refusal(grant("somewhere"))).details["field"] == "scope"
