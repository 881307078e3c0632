"""Tools switched, set, called and made by operators, in a house with real lanes. Contract: tools.md §3, §14, §23."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta, Struct

from goclaw.actors.engine.guards import Guards
from goclaw.domain.access import Caller, Role
from goclaw.domain.agent import AGENTS, AgentChanged
from goclaw.domain.approval import Wish
from goclaw.domain.errors import Err, Rejected
from goclaw.domain.ids import new_id
from goclaw.operations import builtin_tools, custom_tools, tools
from goclaw.operations.builtin_tools import ChangeTool, ListTools, TenantChoice, ToolName, rows_of
from goclaw.operations.context import Context, House
from goclaw.operations.custom_tool_shapes import CreateTool, CustomView, ListCustom, ToolId, UpdateTool
from goclaw.operations.params import decode
from goclaw.operations.tools import Invoke, Preview, Result, Said
from goclaw.runtime.system import System
from goclaw.security.box import Box
from goclaw.security.known import Known
from goclaw.settings.settings import Settings
from goclaw.stores import builtin_tools as stored
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, one, transaction
from goclaw.tools.custom.maker import Maker
from goclaw.tools.runtime.rules import Rules
from goclaw.tools.tool import Effect, Tool, ToolContext, tool
from tests.actors.house import house as open_house
from tests.operations.preview_vectors import ALL, VECTORS, wanted

KEY = b"k" * 32


class Say(Struct):
    text: Annotated[str, Meta(max_length=100)] = ""
    action: str = ""
    times: int = 1


class SayFields(Struct, forbid_unknown_fields=True):
    loud: bool = False


class Nobody:
    """Asks nobody; remembers what it was asked about."""

    asks = False

    def __init__(self) -> None:
        self.wishes: list[Wish] = []

    async def ask(self, wish: Wish) -> None:
        self.wishes.append(wish)


def stand_ins() -> dict[str, Tool]:
    made: dict[str, Tool] = {}
    for name in sorted(ALL):

        @tool(name=name, group="mcp" if name == "stock_price" else "test", effect=Effect.PURE)
        async def stand_in(ctx: ToolContext, ask: Say) -> str:
            """Stand in."""
            return ask.text

        made[name] = stand_in.__tool__  # type: ignore[attr-defined]
    stock = made["stock_price"]
    made["stock_price"] = type("Stock", (Tool,), {"groups": property(lambda self: ("mcp", "mcp:stock", "goclaw"))})(
        **{field: getattr(stock, field) for field in stock.__dataclass_fields__}
    )

    @tool(group="test", effect=Effect.UNSAFE, settings=SayFields)
    async def shout(ctx: ToolContext, ask: Say) -> str:
        """Say something, loudly if it is set so."""
        text = ask.text * ask.times or ctx.role
        return text.upper() if ctx.setting("shout", SayFields).loud else text

    @tool(group="test", effect=Effect.PURE, requires=("no-such-program-anywhere",))
    async def lacking(ctx: ToolContext, ask: Say) -> str:
        """Do something with a program that is not there."""
        return ""

    return made | {one.__tool__.name: one.__tool__ for one in (shout, lacking)}  # type: ignore[attr-defined]


def house_of(system: System, tools: Mapping[str, Tool]) -> House:
    house = House(Settings(), system, "0", new_id(), 0, box=Box(KEY))
    house.builtin = tools
    return house


@pytest.fixture
def nobody() -> Nobody:
    return Nobody()


@pytest.fixture
async def ctx(database: Database, tmp_path: Path, nobody: Nobody) -> AsyncIterator[Context]:
    made = stand_ins()
    await database.run(stored.fill, tools=rows_of(made))
    known = Known()
    maker = Maker(Rules(variables={"PATH": "/usr/bin:/bin"}), nobody, Box(KEY), known)
    async with open_house(database, tmp_path, tools=made, maker=maker, guards=Guards(known=known)) as system:
        yield Context(house_of(system, made), Caller(user_id="lan", role=Role.ADMIN))


async def refusal(asked: Any) -> Err:
    with pytest.raises(Rejected) as refused:
        await asked
    return refused.value.err


async def invoke(ctx: Context, tool: str, **args: Any) -> Result:
    said = await tools.invoke(ctx, Invoke(tool=tool, args=args))
    assert isinstance(said.result, Result)
    assert said.ok is not said.result.is_error
    return said.result


async def rehearse(ctx: Context, tool: str, **args: Any) -> Said:
    return await tools.invoke(ctx, Invoke(tool=tool, args=args, dry_run=True))


async def make(ctx: Context, name: str = "disk", command: str = "echo {{.text}}", **more: Any) -> CustomView:
    given = {"parameters": {"properties": {"text": {"type": "string"}}}, "name": name, "command": command, **more}
    return await custom_tools.create(ctx, decode(CreateTool, given))


async def change(ctx: Context, id: str, **more: Any) -> CustomView:
    return await custom_tools.update(ctx, decode(UpdateTool, {"id": id, **more}))


async def preview(ctx: Context, **layers: Any) -> str:
    found = await tools.preview(ctx, decode(Preview, layers))
    return " ".join(name for name in found.tools if name in ALL)


@pytest.mark.parametrize("vector", sorted(VECTORS))
async def test_the_policy_is_shown_before_it_holds(ctx: Context, vector: str) -> None:
    """T3. Over a real socket: `tests/e2e/test_tools_accepted.py`."""
    layers, said = VECTORS[vector]
    assert (await preview(ctx, **layers)).split() == wanted(said)


async def test_a_tool_that_is_turned_off_or_lacks_something_is_nobodys(ctx: Context) -> None:
    await builtin_tools.update(ctx, ChangeTool(name="web_fetch", enabled=False))

    assert (await preview(ctx)).split() == sorted(ALL - {"web_fetch"})  # P19
    assert "lacking" not in (await tools.preview(ctx, Preview())).tools
    assert (await refusal(invoke(ctx, "WebFetch", text="hi"))).code == "FORBIDDEN"
    assert not (await rehearse(ctx, "web_fetch")).allowed
    shown = {row.name: row for row in (await builtin_tools.list_tools(ctx, ListTools())).tools}
    assert (shown["web_fetch"].enabled, shown["lacking"].available) == (False, False)
    assert shown["lacking"].missing == ("no-such-program-anywhere",)
    await builtin_tools.set_tenant(ctx, TenantChoice(name="web_fetch", enabled=True))
    assert (await invoke(ctx, "web_fetch", text="hi")).content == "hi"
    await builtin_tools.clear_tenant(ctx, ToolName(name="web_fetch"))
    assert (await refusal(invoke(ctx, "web_fetch"))).code == "FORBIDDEN"


async def test_filling_again_keeps_what_people_said(ctx: Context, database: Database) -> None:
    await builtin_tools.update(ctx, ChangeTool(name="shout", enabled=False, settings={"loud": True}))
    await database.run(stored.fill, tools=rows_of(ctx.house.builtin))

    kept = await builtin_tools.get(ctx, ToolName(name="shout"))
    assert (kept.enabled, msgspec.json.decode(kept.settings)) == (False, {"loud": True})


async def test_settings_hold_from_the_next_call_on_and_must_fit(ctx: Context) -> None:
    assert (await invoke(ctx, "shout", text="hi")).content == "hi"
    await builtin_tools.update(ctx, ChangeTool(name="shout", settings={"loud": True}))

    assert (await invoke(ctx, "shout", text="hi")).content == "HI"
    wrong = await refusal(builtin_tools.update(ctx, ChangeTool(name="shout", settings={"loud": "very"})))
    assert wrong.details["field"] == "settings.loud"
    assert (await refusal(builtin_tools.update(ctx, ChangeTool(name="shout", settings={"odd": 1})))).code == (
        "INVALID_REQUEST"
    )
    assert (await refusal(builtin_tools.update(ctx, ChangeTool(name="exec", settings={"a": 1})))).code == (
        "INVALID_REQUEST"
    )
    secret = await refusal(builtin_tools.update(ctx, ChangeTool(name="shout", settings={"api_key": "x"})))
    assert secret.details["field"] == "settings.api_key"


@transaction
async def set_of_agent(db: Connection, settings: dict[str, Any]) -> None:
    await db.execute(
        "UPDATE agents SET other_config = jsonb_build_object('builtin_tool_settings', %s::jsonb)", [settings]
    )


async def test_an_agents_own_settings_come_before_the_tenants_and_those_before_everybodys(
    ctx: Context, database: Database
) -> None:
    await builtin_tools.update(ctx, ChangeTool(name="shout", settings={"loud": True}))
    other = Context(ctx.house, Caller(user_id="lan", role=Role.ADMIN))
    await ctx.db(stored.set_tenant, tenant=other.caller.tenant_id, name="shout", enabled=None, settings={"loud": False})
    builtin_tools.changed(ctx, "shout")
    assert (await invoke(ctx, "shout", text="hi")).content == "hi"
    await database.run(set_of_agent, {"shout": {"loud": True}})
    ctx.system.publish(AGENTS, AgentChanged(tenant_id=ctx.caller.tenant_id))
    assert (await invoke(ctx, "shout", text="hi")).content == "HI"


async def test_a_call_passes_the_whole_pipeline(ctx: Context) -> None:
    noted = await invoke(ctx, "shout", text="hi", times="2", strange=1)
    assert "hihi" in noted.content
    assert "ignored" in noted.content
    assert "strange" in noted.content  # T5
    assert (await invoke(ctx, "shout")).content == "admin"  # the caller's role
    wrong = await refusal(invoke(ctx, "shout", times="many"))
    assert wrong.code == "INVALID_REQUEST"
    assert "/times" in wrong.details["reason"]
    assert (await refusal(invoke(ctx, "no_such_tool"))).code == "NOT_FOUND"
    assert (await refusal(tools.invoke(ctx, Invoke(tool="shout", agent_id="nobody")))).code == "NOT_FOUND"


async def test_the_151st_call_in_an_hour_is_told_when_to_come_back(ctx: Context) -> None:
    """T6. A rehearsal takes none."""
    for _ in range(150):
        await invoke(ctx, "shout", text="x")
    assert (await rehearse(ctx, "shout")).allowed
    late = await refusal(invoke(ctx, "shout", text="x"))
    assert late.code == "RESOURCE_EXHAUSTED"
    assert "150/hour); try again in 3" in str(late)


async def test_a_rehearsal_counts_nothing_and_says_what_is_wrong(ctx: Context) -> None:
    said = await rehearse(ctx, "shout", times="many")

    assert (said.allowed, said.dry_run) == (True, True)
    assert "/times" in str(said.problem)
    assert isinstance(said.parameters, msgspec.Raw)
    assert msgspec.json.decode(said.parameters)["type"] == "object"


async def test_a_custom_tool_runs_its_command_with_its_secrets_and_nobody_reads_them(
    ctx: Context, nobody: Nobody
) -> None:
    command = "printf '%s ' {{.text}} && printenv API_TOKEN | tr a-z A-Z"
    made = await make(ctx, command=command, acknowledged_groups=["env_dump"])
    changed = await change(ctx, made.id, env={"API_TOKEN": "s3cret-of-the-tool"})

    assert changed.env_keys == ("API_TOKEN",)
    assert b"s3cret" not in msgspec.json.encode(changed)
    done = await invoke(ctx, "disk", text="a b; id")
    assert not done.is_error
    assert done.content.startswith("a b; id S3CRET-OF-THE-TOOL")
    assert str((await rehearse(ctx, "disk", text="x'y")).command).startswith("printf '%s ' 'x'\"'\"'y'")
    assert nobody.wishes[-1].tool == "disk"
    assert [one.name for one in nobody.wishes[-1].commands] == ["custom/disk"]


async def test_who_prints_a_secret_prints_a_mark(ctx: Context) -> None:
    made = await make(ctx, command="printenv API_TOKEN", acknowledged_groups=["env_dump"])
    await change(ctx, made.id, env={"API_TOKEN": "s3cret-of-the-tool"})

    told = await invoke(ctx, "disk")

    assert "s3cret" not in told.content


async def test_env_is_replaced_or_changed_name_by_name(ctx: Context) -> None:
    made = await make(ctx)
    await change(ctx, made.id, env={"A": "1", "B": "2"})

    assert (await change(ctx, made.id, env={"A": None, "C": "3"})).env_keys == ("B", "C")
    assert (await change(ctx, made.id, env={"D": "4"})).env_keys == ("D",)
    assert (await change(ctx, made.id, env={})).env_keys == ()
    for name in ("PATH", "LD_PRELOAD", "a", "GOCLAW_TOKEN", "1A"):
        assert (await refusal(change(ctx, made.id, env={name: "x"}))).code == "INVALID_REQUEST"
    assert (await refusal(make(ctx, "other", env={"A": "1"}))).details["reason"] == "set env with PUT after creation"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"command": 'echo "{{.text}}"'}, "command"),
        ({"command": "echo {{.nothing}}"}, "command"),
        ({"command": "{{.text}} x"}, "command"),
        ({"command": "rm -rf /"}, "command"),
        ({"parameters": {"type": "array"}}, "parameters"),
        ({"working_dir": "/etc"}, "working_dir"),
        ({"working_dir": "a/../.."}, "working_dir"),
        ({"acknowledged_groups": ["everything"]}, "acknowledged_groups"),
        ({"timeout_seconds": 3601}, "timeout_seconds"),
        ({"name": "Bad"}, "name"),
    ],
)
async def test_what_could_never_run_is_not_stored(ctx: Context, given: dict[str, Any], field: str) -> None:
    refused = await refusal(make(ctx, **{"name": "disk", **given}))

    assert (refused.code, refused.details["field"]) == ("INVALID_REQUEST", field)
    assert (await custom_tools.list_custom(ctx, ListCustom())).total == 0


async def test_a_dig_is_allowed_where_an_admin_said_so(ctx: Context) -> None:
    command = "dig +short {{.text}}"
    refused = await refusal(make(ctx, command=command))

    assert refused.key == "command_denied"
    made = await make(ctx, command=command, acknowledged_groups=[refused.details["group"]])
    assert made.acknowledged_groups == (refused.details["group"],)


@pytest.mark.parametrize("name", ["exec", "read_file", "alert", "shout", "delegate"])
async def test_a_name_that_is_ours_is_taken(ctx: Context, name: str) -> None:
    assert (await refusal(make(ctx, name))).code == "ALREADY_EXISTS"


async def test_an_agents_tool_stands_before_that_of_all(ctx: Context) -> None:
    everybodys = await make(ctx, command="echo all")
    own = await make(ctx, command="echo own", agent_id="default")

    assert (await refusal(make(ctx))).code == "ALREADY_EXISTS"
    assert (await refusal(make(ctx, agent_id="default"))).code == "ALREADY_EXISTS"
    assert (await invoke(ctx, "disk")).content.strip() == "own"
    await change(ctx, own.id, enabled=False)
    assert (await invoke(ctx, "disk")).content.strip() == "all"
    viewer = Context(ctx.house, Caller(user_id="lan", role=Role.VIEWER))
    assert [row.id for row in (await custom_tools.list_custom(viewer, ListCustom())).tools] == [everybodys.id]
    assert (await refusal(custom_tools.get(viewer, ToolId(id=own.id)))).code == "NOT_FOUND"
    assert (await custom_tools.list_custom(ctx, ListCustom())).total == 2
    await custom_tools.delete(ctx, ToolId(id=everybodys.id))
    await custom_tools.delete(ctx, ToolId(id=own.id))
    assert (await refusal(invoke(ctx, "disk"))).code == "NOT_FOUND"


@transaction(readonly=True)
async def env_of(db: Connection) -> bytes:
    return await one(bytes, db.execute("SELECT env FROM custom_tools"))


async def test_a_seal_opens_in_its_own_row_only(ctx: Context, database: Database) -> None:
    made = await make(ctx)
    await change(ctx, made.id, env={"A": "s3cret-of-the-tool"})

    sealed = await database.run(env_of)

    assert b"s3cret" not in sealed
    assert sealed[:1] == b"\x02"
