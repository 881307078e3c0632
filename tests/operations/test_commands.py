"""Slash words answer in the language of whoever asks. Contract: channels.md §10, sessions-lanes-cron.md §12."""

from __future__ import annotations

from pathlib import Path

import pytest

from goclaw.actors.config import Configuration
from goclaw.domain.access import Caller, Role
from goclaw.domain.command_texts import SENTENCES
from goclaw.domain.errors import Rejected
from goclaw.operations.commands import run_command
from goclaw.operations.context import Context, House
from goclaw.runtime.child import child
from goclaw.runtime.supervisor import Supervisor
from goclaw.security.estop import Brake
from goclaw.settings.document import parse
from goclaw.settings.gateway import Gateway
from goclaw.settings.load import load, undecided
from goclaw.settings.queue import ChannelQueue, ChannelQueues, Queue
from goclaw.settings.section import Secret
from goclaw.settings.settings import Settings
from goclaw.settings.writer import ConfigFile
from goclaw.stores import session_changes
from goclaw.stores.database import Database
from goclaw.stores.session_changes import Patch
from tests.actors.house import house
from tests.stores.test_resource_locks import take, task
from tests.stores.test_runs import KEY
from tests.stores.test_session_past import HERE, answered


@pytest.mark.parametrize("locale", ["en", "vi", "zh"])
async def test_replies_are_in_the_language_of_the_caller(database: Database, tmp_path: Path, locale: str) -> None:
    await answered(database)
    async with house(database, tmp_path) as system:
        caller = Caller(user_id="lan", role=Role.ADMIN, locale=locale)
        ctx = Context(House(Settings(), system, "0", "node", 0), caller)
        replies = {}
        for word in ("/compact", "/queue", "/status run", "/status", "/reset"):
            reply = await run_command(ctx, word, KEY)
            assert reply is not None
            replies[word] = reply.content

    said = {key: texts[locale] for key, texts in SENTENCES.items()}  # type: ignore[index]
    assert replies["/compact"] == said["short"].format(before=2)
    assert replies["/queue"] == said["queue"].format(mode="queue")
    assert replies["/reset"] == said["reset"]
    assert replies["/status run"].startswith(said["run"].partition("{")[0])
    assert replies["/status"].startswith("2 ")


async def test_the_queue_mode_that_is_shown_is_the_one_that_counts(database: Database, tmp_path: Path) -> None:
    queue = Queue(channels=ChannelQueues(named={"ws": ChannelQueue(mode="interrupt")}))
    await answered(database)
    async with house(database, tmp_path, queue) as system:
        ctx = Context(House(Settings(queue=queue), system, "0", "node", 0), Caller(user_id="lan", role=Role.ADMIN))
        of_channel = await run_command(ctx, "/queue", KEY)
        await database.run(session_changes.patch, **HERE, change=Patch(queue_mode="followup"))
        own = await run_command(ctx, "/queue", KEY)

    assert of_channel is not None
    assert own is not None
    assert (of_channel.content, own.content) == ("Queue mode: interrupt.", "Queue mode: followup.")


async def said(house: House, text: str, role: Role = Role.ADMIN) -> str:
    reply = await run_command(Context(house, Caller(user_id="lan", role=role)), text, KEY)
    assert reply is not None
    return reply.content


@pytest.mark.parametrize(
    "text",
    [
        "/queue followup",
        "/model large",
        "/config get gateway",
        "/config set gateway.port 1",
        "/reload",
        "/estop",
        "/approve ABC123",
        "/deny ABC123",
    ],
)
async def test_what_changes_the_house_is_for_admins(database: Database, tmp_path: Path, text: str) -> None:
    await answered(database)
    async with house(database, tmp_path) as system:
        here = House(Settings(), system, "0", "node", 0)
        with pytest.raises(Rejected) as refused:
            await said(here, text, Role.OPERATOR)

    assert refused.value.err.code == "FORBIDDEN"
    assert refused.value.err.details["action"] == text.split()[0]
    assert not here.brake.state.all


async def test_help_names_what_the_caller_may_do(database: Database, tmp_path: Path) -> None:
    async with house(database, tmp_path) as system:
        here = House(Settings(), system, "0", "node", 0)
        admin, operator = await said(here, "/help"), await said(here, "/HELP", Role.OPERATOR)

    assert "/estop" in admin
    assert "/estop" not in operator
    assert {"/stop", "/status", "/agent"} <= set(operator.replace(",", "").split())


async def test_status_says_who_answers_and_how_busy_the_house_is(database: Database, tmp_path: Path) -> None:
    await answered(database)
    async with house(database, tmp_path) as system:
        first, answering, busy = (await said(House(Settings(), system, "0", "node", 0), "/status")).splitlines()

    assert first.startswith("2 messages")
    assert answering == "Agent default with offline/offline-1."
    assert busy == "Lane main: 0 of 30 busy, 0 queued. Gateway: ok."


async def test_a_session_has_a_model_of_its_own_until_it_is_taken_back(database: Database, tmp_path: Path) -> None:
    await answered(database)
    async with house(database, tmp_path) as system:
        here = House(Settings(), system, "0", "node", 0)
        told = [await said(here, text) for text in ("/model", "/model large", "/model", "/model default")]

    assert told == [f"Model of this session: offline/{name}." for name in ("offline-1", "large", "large", "offline-1")]


async def test_the_configuration_is_shown_without_its_secrets(database: Database, tmp_path: Path) -> None:
    settings = Settings(gateway=Gateway(token=Secret("t-1")))
    async with house(database, tmp_path) as system:
        here = House(settings, system, "0", "node", 0)
        section = await said(here, "/config get gateway")
        told = [
            await said(here, f"/config get {path}") for path in ("queue.cap", "gateway.quota.enable", "gateway.token")
        ]
        for wrong in ("/config", "/config get", "/config get no.such", "/config set queue.cap 3"):
            with pytest.raises(Rejected):
                await said(here, wrong)

    assert "t-1" not in section
    assert told == ["queue.cap = 10", "gateway.quota.enable = false", 'gateway.token = "***"']


async def test_locks_are_told(database: Database, tmp_path: Path) -> None:
    run = await task(database, "a", "repo:a")
    async with house(database, tmp_path) as system:
        here = House(Settings(), system, "0", "node", 0)
        before = await said(here, "/locks", Role.OPERATOR)
        await take(database, "a")
        after = await said(here, "/locks", Role.OPERATOR)

    assert before == "Nothing is locked."
    assert after == f"Run {run} holds repo:a."


async def test_the_emergency_stop_is_one_word(database: Database, tmp_path: Path) -> None:
    async with house(database, tmp_path) as system:
        here = House(Settings(), system, "0", "node", 0, brake=Brake(tmp_path / "estop.json"))
        told = await said(here, "/estop it runs wild")

    assert told == "All agents are stopped."
    assert (here.brake.state.all, here.brake.state.reason) == (True, "it runs wild")


async def test_other_words_are_for_the_agent(database: Database, tmp_path: Path) -> None:
    async with house(database, tmp_path) as system:
        ctx = Context(House(Settings(), system, "0", "node", 0), Caller(user_id="lan", role=Role.ADMIN))

        assert await run_command(ctx, "/dance a little", KEY) is None
        assert await run_command(ctx, "/help " + "x" * 201, KEY) is None


async def test_the_owner_changes_the_configuration_and_nobody_else(database: Database, tmp_path: Path) -> None:
    """config-cli.md §6.2; nodes-autonomy.md §11: `enable` is `enabled`."""
    file = tmp_path / "config.json"
    file.write_text("{gateway: {port: 1}}")
    loaded = undecided(load(file, {"GOCLAW_HOME": str(tmp_path)}, {}))
    config = child("infra", lambda: Supervisor([child("config", Configuration, loaded)]))
    await answered(database)
    async with house(database, tmp_path, more=[config]) as system:
        here = House(loaded.settings, system, "0", "node", 0)
        here.config = ConfigFile(loaded)
        owner = Context(here, Caller(user_id="system", role=Role.ADMIN, is_owner=True))
        told = []
        for text in ("set tools.web.brave.enable false", "set queue.lanes.main 3", "unset gateway.port"):
            reply = await run_command(owner, f"/config {text}", KEY)
            assert reply is not None
            told.append(reply.content)
        kept = parse(file.read_text()).value
        with pytest.raises(Rejected) as wrong:
            await run_command(owner, "/config set gateway.port abc", KEY)
        with pytest.raises(Rejected) as admin:
            await said(here, "/config set gateway.port 2")

        assert parse(file.read_text()).value == kept

    assert kept == {"gateway": {}, "tools": {"web": {"brave": {"enabled": False}}}, "queue": {"lanes": {"main": 3}}}
    assert told[0].endswith("It counts from the next start: tools.web.brave.enabled.")
    assert told[1] == "Configuration changed: queue.lanes.main."
    assert (wrong.value.err.code, wrong.value.err.details["path"]) == ("INVALID_REQUEST", "gateway.port")
    assert admin.value.err.code == "FORBIDDEN"
