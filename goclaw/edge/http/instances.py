"""PATCH …/instances/{user_id}/metadata, whose body may be the map itself. Contract: edge-http.md §5."""

from __future__ import annotations

from quart import Response

from goclaw.domain.access import Caller, Role
from goclaw.edge.http.answers import json_response
from goclaw.edge.http.request import Call, Raw
from goclaw.operations.agent_instances import DescribeInstance, describe
from goclaw.operations.params import decode


async def patch(call: Call, caller: Caller) -> Response:
    """Merge what is known of somebody who talked to an agent; a null takes a member away."""
    body = await call.body()
    given = body if not isinstance(body, dict) or "metadata" in body else {"metadata": body}
    ask = decode(DescribeInstance, {**given, **call.captured} if isinstance(given, dict) else given)
    return json_response(await describe(call.context(caller), ask), 200)


ROUTE = Raw("PATCH /v1/agents/{id}/instances/{user_id}/metadata", Role.OPERATOR, patch)
