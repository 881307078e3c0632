"""Who may know what about whose actor. Contract: edge-http.md §26 (Tenancy)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import trio
from trio.testing import MockClock

from goclaw.domain.access import MASTER_TENANT, Caller, Role
from goclaw.domain.errors import Rejected
from goclaw.operations.actor_events import Follow, FollowActors
from goclaw.operations.actor_orders import Order, ProbeActor, Trace, envelope, probe, restart, trace
from goclaw.operations.actor_sight import Sight
from goclaw.operations.actors import GetActor, GetTree, ListLetters, dead_letters, get_actor, get_tree
from goclaw.operations.context import Context, House
from goclaw.operations.gateway import status_of
from goclaw.runtime.actor import Actor, handles
from goclaw.runtime.actor import Context as Handling
from goclaw.runtime.address import Address
from goclaw.runtime.child import Child
from goclaw.runtime.lens import Seen
from goclaw.runtime.news import ActorSlow, DeadLettersRising, MailboxFilling
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.virtual import Virtual
from goclaw.settings.settings import Settings
from tests.runtime.house import Boom, Say, house, quiet

ELSEWHERE = str(uuid4())
ADAS = Address("sessions", MASTER_TENANT, "agent:default:ws:direct:ada")
BOBS = Address("sessions", MASTER_TENANT, "agent:default:ws:direct:bob")
FOREIGN = Address("sessions", ELSEWHERE, "agent:default:ws:direct:ada")
MAIN = Address("engine", "lanes", "main")
RUN = Address("engine", "lanes", "main", "r1")
OWNER = Caller(user_id="root", role=Role.ADMIN, is_owner=True)
ADMIN = Caller(user_id="ann", role=Role.ADMIN)
ADA = Caller(user_id="ada", role=Role.OPERATOR)
BOB = Caller(user_id="bob", role=Role.OPERATOR)


class Talk(Actor):
    """A session whose key ends with its user's name."""

    def __init__(self, address: Address) -> None:
        tenant, key = address.split("/")[2:]
        self.belongs_to = (tenant, key.rpartition(":")[2])

    @handles
    def say(self, ctx: Handling, ask: Say) -> str:
        return ask.text

    @handles
    def boom(self, ctx: Handling, ask: Boom) -> None:
        raise RuntimeError("secret of this user")

    def snapshot(self) -> dict[str, Any]:
        return {"said": "secret of this user"}


class Work(Actor):
    belongs_to = (MASTER_TENANT, "ada")


def lanes() -> Supervisor:
    return Supervisor([Child("lanes", lambda: Supervisor([Child("main", lambda: Supervisor([Child("r1", Work)]))]))])


def seen(text: str, sender: str = "") -> Seen:
    at = datetime(2026, 11, 20, tzinfo=UTC)
    return Seen(
        at=at, type=Say.TYPE, sender=sender, kind="tell", wait_ms=0, handle_ms=0, outcome="handled", body=Say(text=text)
    )


@asynccontextmanager
async def inhabited() -> AsyncIterator[House]:
    talks = Child("sessions", lambda: Virtual(Talk, idle=600, most=100))
    async with house(talks, Child("engine", lanes)) as system:
        gateway = House(Settings(), system, "0", str(uuid4()), 0)
        for path in (ADAS, BOBS, FOREIGN):
            system.tell(path, Boom())
            await trio.sleep(1)
            await system.ask(path, Say(text="x"), within=1)
        yield gateway


async def nodes(gateway: House, caller: Caller, **asked: Any) -> list[dict[str, Any]]:
    found = await get_tree(Context(gateway, caller), GetTree(depth=16, **asked))
    root = msgspec.json.decode(msgspec.json.encode(found))["root"]
    seen = [root]
    for node in seen:
        seen += node.get("children", ())
    return seen


@pytest.mark.parametrize(
    ("caller", "sees"),
    [(OWNER, {ADAS, BOBS, FOREIGN, RUN}), (ADMIN, {ADAS, BOBS, RUN}), (ADA, {ADAS, RUN}), (BOB, {BOBS})],
)
async def test_who_sees_whom(autojump_clock: MockClock, caller: Caller, sees: set[str]) -> None:
    async with inhabited() as gateway:
        seen = await nodes(gateway, caller)
        known = {node["path"] for node in seen if node["path"].count("/") > 1 and not node.get("redacted")}
        hidden = [node for node in seen if node.get("redacted")]

        assert known - {"/engine/lanes", "/engine/lanes/main"} == {str(path) for path in sees}
        assert len(hidden) == 4 - len(sees)
        for node in hidden:
            assert re.fullmatch(r"~[0-9a-f]{8}", node["name"])
            assert node["path"].rpartition("/")[2] == node["name"]
            assert not {"snapshot", "last_error", "last_crash", "in_hand"} & set(node)
        said = msgspec.json.encode(hidden).decode()
        assert not re.search(r"ada|bob|secret|r1", said)
        for path in {ADAS, BOBS, FOREIGN, RUN} - sees:
            with pytest.raises(Rejected, match="NOT_FOUND"):
                await get_actor(Context(gateway, caller), GetActor(path=path))
            with pytest.raises(Rejected, match="NOT_FOUND"):
                await probe(Context(gateway, caller), ProbeActor(path=path))
            with pytest.raises(Rejected, match="NOT_FOUND"):
                await restart(Context(gateway, caller), Order(path=path))


async def test_a_hidden_name_stays_the_same_and_differs_between_actors(autojump_clock: MockClock) -> None:
    async with inhabited() as gateway:
        once, again = [[node["name"] for node in await nodes(gateway, BOB) if node.get("redacted")] for _ in range(2)]
    assert once == again
    assert len(set(once)) == 3


async def test_a_text_finds_nobody_whose_path_is_hidden(autojump_clock: MockClock) -> None:
    async with inhabited() as gateway:

        async def found(caller: Caller, text: str) -> list[str]:
            page = await get_tree(Context(gateway, caller), GetTree(format="flat", text=text))
            assert page["total"] == len(page["actors"])
            return [node["path"] for node in page["actors"]]

        assert await found(BOB, "direct:") == [BOBS]
        assert await found(OWNER, "direct:") == [ADAS, BOBS, FOREIGN]
        in_tree = await nodes(gateway, BOB, text="direct:ada")
        assert [node["path"] for node in in_tree] == ["/"]


async def test_tracebacks_are_for_admins(autojump_clock: MockClock) -> None:
    async with inhabited() as gateway:
        for caller, traced in ((ADMIN, True), (ADA, False)):
            node = await get_actor(Context(gateway, caller), GetActor(path=ADAS))
            assert node["last_error"]["message"] == "secret of this user"
            assert ("traceback" in node["last_error"], "traceback" in node["last_crash"]) == (traced, traced)


async def test_news_and_letters_of_hidden_actors_say_nothing(autojump_clock: MockClock) -> None:
    async with inhabited() as gateway:
        system = gateway.system
        for caller, known in ((BOB, 0), (ADA, 1), (OWNER, 2)):
            follow = Follow(Context(gateway, caller), FollowActors(types="actor.crashed"))
            told = [follow.payload(news) for _, news in gateway.bulletin.since(0)[0]]
            crashes = [payload for payload in told if payload is not None]
            open_ = [payload for payload in crashes if "ada" in payload["path"]]
            assert (len(crashes), len(open_)) == (3, known)
            assert all(("error" in payload) is not ("redacted" in payload) for payload in crashes)
            only = Follow(Context(gateway, caller), FollowActors(path=FOREIGN))
            assert any(only.payload(news) for _, news in gateway.bulletin.since(0)[0]) is caller.is_owner

            letters = await dead_letters(Context(gateway, caller), ListLetters(reason="crashed_handler"))
            assert len(letters["deadletters"]) == letters["total"] == 3
            assert sum("ada" in letter["to"] for letter in letters["deadletters"]) == known
        assert system.dead_letters.total >= 3


async def test_a_trace_of_a_shared_actor_says_nothing_of_other_tenants(autojump_clock: MockClock) -> None:
    async with inhabited() as gateway:
        for caller, path, open_ in ((ADMIN, MAIN, False), (OWNER, MAIN, True), (ADMIN, RUN, True), (ADMIN, ADAS, True)):
            ctx = Context(gateway, caller)
            await trace(ctx, Trace(path=path))
            if open_:
                await trace(ctx, Trace(path=path, include_body=True))
            else:
                with pytest.raises(Rejected, match="shared_actor"):
                    await trace(ctx, Trace(path=path, include_body=True))
        for caller, known in ((ADMIN, False), (OWNER, True)):
            shown = envelope(seen("{}", FOREIGN), Trace(path=MAIN), Sight(Context(gateway, caller)))
            assert (shown["from"] == FOREIGN) is known
            assert "body" not in shown


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ('{"message": "hi", "api_key": "s3"}', {"message": "hi", "api_key": "***"}),
        (' {"more": ["{\\"token\\": \\"s3\\"}"]}', {"more": [{"token": "***"}]}),
        ("{broken", "{broken"),
        ("plain", "plain"),
    ],
)
async def test_a_body_is_scrubbed_where_it_holds_json_too(autojump_clock: MockClock, text: str, body: object) -> None:
    async with inhabited() as gateway:
        shown = envelope(seen(text), Trace(path=MAIN, include_body=True), Sight(Context(gateway, OWNER)))
        assert shown["body"]["text"] == body
        deep = envelope(seen('{"a":' * 9000), Trace(path=MAIN, include_body=True), Sight(Context(gateway, OWNER)))
        assert deep["body"] is None


async def test_every_kind_of_news_has_its_payload(autojump_clock: MockClock) -> None:
    async with inhabited() as gateway:
        follow = Follow(Context(gateway, OWNER), FollowActors())
        at = gateway.system.clock.now()
        more = {"at": at, "node_id": gateway.node_id}
        filling = MailboxFilling(event="actor.mailbox", at=at, path=BOBS, depth=8, capacity=10, dropped=1)
        slow = ActorSlow(event="actor.slow", at=at, path=BOBS, of_class="Talk", message_type="say", age_ms=6000)
        rising = DeadLettersRising(event="actor.deadletters", at=at, reason="no_actor", rate=12.34, top_type="say")

        assert follow.payload(filling) == {"path": BOBS, "depth": 8, "capacity": 10, "dropped": 1, **more}
        assert follow.payload(slow) == {"path": BOBS, "class": "Talk", "message_type": "say", "age_ms": 6000, **more}
        assert follow.payload(rising) == {"reason": "no_actor", "rate": 12.3, "top_type": "say", **more}
        supervisors = Follow(Context(gateway, OWNER), FollowActors(kind="supervisor"))
        assert [supervisors.payload(news) for news in (filling, slow, rising)] == [None] * 3


async def test_who_reads_too_late_is_told_how_much_it_missed(autojump_clock: MockClock) -> None:
    async with house(Child("sessions", lambda: Virtual(Talk, idle=600, most=2000))) as system:
        bulletin = House(Settings(), system, "0", "", 0).bulletin
        start = bulletin.newest
        for n in range(1200):
            system.tell(Address("sessions", MASTER_TENANT, f"agent:default:x:{n}"), Say(text=""))
        await quiet()

        news, missed = bulletin.since(start + 50)
        assert (len(news), missed, news[0][0], news[-1][0]) == (1000, 150, start + 201, start + 1200)
        assert bulletin.since(start + 1199) == ([(start + 1200, news[-1][1])], 0)
        assert bulletin.since(bulletin.newest) == ([], 0)
        assert [bulletin.knows(number) for number in (start - 1, start, start + 1200, start + 1201)] == [
            False, True, True, False,
        ]  # fmt: skip


async def test_health_is_degraded_while_mailboxes_are_full(autojump_clock: MockClock) -> None:
    async with inhabited() as gateway:
        load = gateway.system.load
        assert status_of(gateway) == "ok"
        load.most = load.queued = 1
        assert status_of(gateway) == "degraded"
        load.queued = 0
