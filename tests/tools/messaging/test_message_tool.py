"""Messages to other chats: T20. Contract: tools.md §10, durability.md §7.3."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from goclaw.actors.delivery.outbox import delivery
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.delivery import Courier, Line
from goclaw.domain.ids import new_id
from goclaw.runtime.child import child
from goclaw.settings.security import Security
from goclaw.stores import run_ends
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, many, transaction
from tests.fakes.platform import HttpCourier, Platform, open_platform
from tests.stores.test_runs import accept, claim, result, said
from tests.tools.automation.desk import Desk, open_desk

HERE = "agent:default:telegram:direct:1"
JOB = "agent:default:cron:nightly"
ELSEWHERE = {"action": "send", "channel": "telegram", "target": "2", "message": "hi"}
CANARY = "canary-S3cr3t-0123456789"
OPENLY = {**ELSEWHERE, "forward": True, "forward_reason": "Lan asked  for it"}


@pytest.fixture
async def platform() -> AsyncIterator[Platform]:
    async with open_platform(nonces=True) as platform:
        yield platform


@pytest.fixture
async def desk(database: Database, tmp_path: Path, platform: Platform) -> AsyncIterator[Desk]:
    async with open_desk(database, tmp_path) as desk:
        desk.house.couriers[MASTER_TENANT, "telegram"] = HttpCourier(platform)
        desk.house.couriers[new_id(), "theirs"] = HttpCourier(platform)
        yield desk


@transaction(readonly=True)
async def waiting(db: Connection) -> list[tuple[str, str]]:
    query = "SELECT chat_id || ' ' || (payload->>'text') FROM outbox ORDER BY outbox_id"
    return [(row.partition(" ")[0], row.partition(" ")[2]) for row in await many(str, db.execute(query))]


send = partial(dict, chat=("telegram", "1"), session=HERE)


@pytest.mark.parametrize(
    "wrong", [{}, {"forward": True}, {"forward_reason": "because"}, {"forward": True, "forward_reason": "  "}]
)
async def test_t20_another_chat_needs_a_reason(desk: Desk, database: Database, wrong: dict[str, Any]) -> None:
    """T20."""
    code, text = await desk.refused("message", **send(), **ELSEWHERE, **wrong)
    assert (code, "forward_reason" in text) == ("denied_policy", True)
    assert await database.run(waiting) == []


async def test_t20_with_a_reason_it_is_sent_and_told_where_it_was_asked_for(desk: Desk, database: Database) -> None:
    """T20."""
    with capture_logs() as logs:
        sent = await desk.said("message", **send(), **OPENLY)

    assert sent == {"status": "sent", "channel": "telegram", "target": "2", "message_id": sent["message_id"]}
    assert await database.run(waiting) == [
        ("2", "hi"),
        ("1", "[A message was sent to telegram:2. Reason: Lan asked for it]"),
    ]
    (told,) = [line for line in logs if line["event"] == "message.cross_target_forward"]
    assert (told["channel"], told["target"], told["session"]) == ("telegram", "2", HERE)


@pytest.mark.parametrize("to", [{}, {"channel": "telegram", "target": "1"}, {"target": "1"}, {"channel": "telegram"}])
async def test_t20_ones_own_chat_gets_the_answer_anyway(desk: Desk, database: Database, to: dict[str, Any]) -> None:
    """T20."""
    code, text = await desk.refused(
        "message", **send(), action="send", message="hi", forward=True, forward_reason="x", **to
    )
    assert (code, "delivered automatically" in text) == ("conflict", True)
    assert await database.run(waiting) == []


async def test_a_job_of_its_own_sends_without_a_reason(desk: Desk, database: Database) -> None:
    await desk.said("message", session=JOB, **ELSEWHERE)
    assert await database.run(waiting) == [("2", "hi")]


async def test_a_conversation_without_a_platform_is_told_in_its_history(desk: Desk, database: Database) -> None:
    key = "agent:default:ws:direct:1"
    await accept(database, "send it", key=key)
    (run,) = await claim(database, key)
    await database.run(run_ends.succeed, run, result=result(run), messages=said(run, "send it"))

    await desk.said("message", session=key, **OPENLY)

    history = await desk.said("sessions_history", key=key, role="system")
    assert [row["content"] for row in history] == [
        "[forward]\n\n[A message was sent to telegram:2. Reason: Lan asked for it]"
    ]


async def test_a_channel_of_another_tenant_is_denied_and_one_that_is_not_there_is_not_found(desk: Desk) -> None:
    assert (await desk.refused("message", session=JOB, **{**ELSEWHERE, "channel": "theirs"}))[0] == "denied_policy"
    assert (await desk.refused("message", session=JOB, **{**ELSEWHERE, "channel": "nobody"}))[0] == "not_found"


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        ({"action": "edit", "message_id": "1"}, "invalid_args"),
        ({"action": "react", "message_id": "1"}, "invalid_args"),
        ({"action": "react", "emoji": "x"}, "invalid_args"),
        ({"action": "delete"}, "invalid_args"),
        ({**ELSEWHERE, "message": "  "}, "invalid_args"),
        ({"action": "send", "channel": "discord", "message": "x"}, "invalid_args"),
    ],
)
async def test_what_cannot_be_sent_is_said(desk: Desk, ask: dict[str, Any], code: str) -> None:
    assert (await desk.refused("message", **send(), **ask))[0] == code


async def test_a_call_whose_end_nobody_saw_sends_once(database: Database, tmp_path: Path, platform: Platform) -> None:
    couriers: dict[Line, Courier] = {(MASTER_TENANT, "telegram"): HttpCourier(platform)}
    post = child("delivery", partial(delivery, alone=True), new_id(), couriers)
    async with open_desk(database, tmp_path, post) as desk:
        desk.house.couriers = couriers
        for again in (False, True):
            await desk.said("message", **send(), **OPENLY, call_key="k1", again=again)
        assert len(await database.run(waiting)) == 2
        await platform.until(2)
    assert (platform.texts("2"), len(platform.texts("1"))) == (["hi"], 1)


RECEIPT = "[receipt r1:e6148065ee689633e41f106d]"


async def test_no_secret_and_no_receipt_leaves_in_a_message(desk: Desk, database: Database) -> None:
    """security.md §12.1, §12.3: nor in the reason, which people are shown."""
    desk.house.known.hold("x", [CANARY])
    with capture_logs() as logs:
        asked = {**OPENLY, "message": f"the key is {CANARY}.\n{RECEIPT}", "forward_reason": f"for {CANARY}"}
        await desk.said("message", **send(), **asked)

    assert await database.run(waiting) == [
        ("2", "the key is [REDACTED]."),
        ("1", "[A message was sent to telegram:2. Reason: for [REDACTED]]"),
    ]
    assert "security.secret_leak_blocked" in [line["event"] for line in logs]
    assert (await desk.refused("message", **send(), **{**OPENLY, "message": RECEIPT}))[0] == "invalid_args"


async def test_a_message_with_a_secret_may_be_withheld_altogether(desk: Desk, database: Database) -> None:
    desk.house.known.hold("x", [CANARY])
    desk.house.settings = replace(desk.house.settings, security=Security(leak_scan="block"))
    code, text = await desk.refused("message", **send(), **{**OPENLY, "message": f"it is {CANARY}"})
    assert (code, "content_policy" in text, CANARY in text) == ("denied_policy", True, False)
    assert await database.run(waiting) == []
