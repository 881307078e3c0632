"""What models say comes back from the database as it was: a run that died or is replayed goes on from there."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from goclaw.agent.plain import plain
from goclaw.agent.recorder import Recorder
from goclaw.domain.chat import ChatMessage, ChatResponse, Image, Raw, StreamChunk, ToolCall, Usage
from goclaw.domain.effort import Reasoning
from goclaw.stores.database import Database
from goclaw.stores.unit import Connection, Json, one, transaction

THOUGHT = {"type": "thinking", "thinking": "hm ✓", "signature": "c2lnbmVk=="}
CALL = {"type": "tool_use", "id": "t1", "name": "look", "input": {"b": [1, 2.5, None], "a": "x"}}
SAID = ChatResponse(
    content="so",
    thinking="hm ✓",
    tool_calls=(ToolCall(id="t1", name="look", arguments={"b": [1, 2.5, None], "a": "x"}), ToolCall(id="t2", name="n")),
    usage=Usage(prompt_tokens=3, completion_tokens=2),
    images=(Image("image/png", "aGk="),),
    raw=Raw("anthropic:m", (THOUGHT, CALL)),
    vendor_cost=Decimal("0.00012345"),
    reasoning=Reasoning(requested="high", effective="high"),
)


@transaction(readonly=True)
async def there_and_back(db: Connection, *, value: Any) -> str:
    return await one(str, db.execute("SELECT (%(value)s::jsonb)::text AS value", {"value": Json(value)}))


async def kept(database: Database, value: Any) -> bytes:
    return (await database.run(there_and_back, value=msgspec.Raw(msgspec.json.encode(value)))).encode()


@pytest.mark.parametrize("signature", [UNSET, "s=="])
async def test_a_message_is_the_same_after_it_was_a_step(database: Database, signature: Any) -> None:
    calls = tuple(msgspec.structs.replace(call, signature=signature) for call in SAID.tool_calls)
    message = ChatMessage(role="assistant", content="so", thinking="hm ✓", tool_calls=calls, raw=SAID.raw)

    assert msgspec.json.decode(await kept(database, message), type=ChatMessage) == message


@pytest.mark.parametrize(
    "said",
    [
        SAID,
        msgspec.structs.replace(SAID, content="nul \0 here", thinking="\0"),
        msgspec.structs.replace(SAID, tool_calls=(ToolCall(id="t1", name="n", arguments={"n": 1e16, "m": -0.0}),)),
    ],
)
async def test_an_answer_has_the_same_hash_after_it_was_a_record(database: Database, said: ChatResponse) -> None:
    first = Recorder("steps")
    done = plain(StreamChunk(done=said)).done
    assert done is not None
    first.answered(0, done)
    body = msgspec.json.decode(await kept(database, first.rows[0].body))

    again = Recorder("steps")
    again.answered(0, msgspec.convert({name: body[name] for name in body if name != "log"}, ChatResponse))

    assert again.log == first.log


def test_a_signed_thought_that_cannot_be_stored_is_not_given_back() -> None:
    odd = {**THOUGHT, "thinking": "h\0m"}
    done = plain(StreamChunk(done=msgspec.structs.replace(SAID, raw=Raw("f", (odd, CALL))))).done

    assert done is not None
    assert done.raw is None
