"""Slash words answer in the language of whoever asks. Contract: channels.md §10, sessions-lanes-cron.md §12."""

from __future__ import annotations

from pathlib import Path

import pytest

from goclaw.domain.access import Caller, Role
from goclaw.domain.command_texts import SENTENCES
from goclaw.operations.commands import run_command
from goclaw.operations.context import Context, House
from goclaw.settings.queue import ChannelQueue, ChannelQueues, Queue
from goclaw.settings.settings import Settings
from goclaw.stores import session_changes
from goclaw.stores.database import Database
from goclaw.stores.session_changes import Patch
from tests.actors.house import house
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
