"""POST /v1/agents/{id}/wake, which waits for its run or does not. Contract: edge-http.md §5."""

from __future__ import annotations

import msgspec
from quart import Response

from goclaw.domain.access import SYSTEM_USER, Caller, Role, valid_user_id
from goclaw.domain.errors import Rejected, invalid
from goclaw.domain.media import shown
from goclaw.edge.http.answers import json_response
from goclaw.edge.http.request import Call, Raw
from goclaw.operations.params import decode
from goclaw.operations.wake import TEXT, Wake, wake

YES = ("1", "true", "yes", "on", "")


async def answer(call: Call, caller: Caller) -> Response:
    """Give an agent one message and answer with its reply; with `?async=true` as soon as the message is stored."""
    headers = call.request.headers
    given = await call.body()
    bare = given == {} and not await call.request.get_data()
    ask = Wake(message=TEXT) if bare else decode(Wake, given)
    named = headers.get("X-GoClaw-User-Id")
    user = caller.user_id if named else ask.user_id or caller.user_id or SYSTEM_USER
    if not valid_user_id(user):
        raise Rejected(invalid("user_id", "user_id_invalid"))
    caller = msgspec.structs.replace(caller, user_id=user)
    asynchronous = call.request.args.get("async", "false").lower() in YES
    wait = not (bare or asynchronous or "respond-async" in headers.get("Prefer", "").lower())
    woken = await wake(
        call.context(caller),
        call.captured["id"],
        ask,
        idempotency_key=headers.get("Idempotency-Key", ""),
        wait=wait,
    )
    sent = {"X-GoClaw-Run-Id": woken.run_id, "X-GoClaw-Session-Key": woken.session_key}
    if woken.again:
        sent["Idempotent-Replay"] = "true"
    facts = {"run_id": woken.run_id, "session_key": woken.session_key}
    if woken.result is None:
        return json_response({"status": "accepted", **facts}, 202, sent)
    usage = woken.result.usage
    tokens = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    files = shown(woken.result.media, call.house.links, call.now)
    return json_response({"content": woken.result.content, **facts, "usage": tokens, "media": files}, 200, sent)


ROUTE = Raw("POST /v1/agents/{id}/wake", Role.OPERATOR, answer)
