"""The methods of the house as an agent's tools reach them: with the rights of the run's user, and no others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from goclaw.domain.access import Caller, Role
from goclaw.domain.errors import Rejected, unknown_method
from goclaw.operations.activity import denied
from goclaw.operations.context import Context, House
from goclaw.operations.operation import Operation
from goclaw.operations.params import decode
from goclaw.tools.methods import Asker


class ForAgents:
    """Implements `tools.methods.Methods`. An owner of the installation is an admin here, everybody else an operator:
    whoever a run belongs to could start it, and more is not known of him (tools.md §10, `gateway`).
    """

    def __init__(self, house: House, operations: Iterable[Operation]) -> None:
        self._house = house
        self._methods = {rpc.name: (operation, rpc) for operation in operations for rpc in operation.rpc}

    async def call(self, asker: Asker, method: str, params: dict[str, Any], *, key: str = "") -> dict[str, Any]:
        if method not in self._methods:
            raise Rejected(unknown_method(method))
        operation, rpc = self._methods[method]
        caller = Caller(
            tenant_id=asker.tenant_id,
            user_id=asker.user_id,
            agent_id=asker.agent_id,
            role=Role.ADMIN if self._house.settings.gateway.is_owner(asker.user_id) else Role.OPERATOR,
        )
        if caller.role < rpc.role:
            raise denied(self._house, caller, method, rpc.role, "")
        ctx = Context(self._house, caller, idempotency_key=key)
        answer = await operation.fn(ctx, decode(operation.input, params))
        payload: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(rpc.reply(answer)))
        return payload
