"""From an upgrade request to a living connection. Contract: edge-websocket.md §1."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import structlog

from goclaw.domain.errors import forbidden
from goclaw.domain.texts import locale_of, text_of
from goclaw.edge.door import Upgrade
from goclaw.edge.gatekeeper import Gatekeeper
from goclaw.edge.ws.connection import Connection, Methods
from goclaw.operations.context import House
from goclaw.operations.operation import Operation

SUBPROTOCOL = "goclaw.v3"
log = structlog.get_logger()


def methods_of(operations: Sequence[Operation]) -> Methods:
    return {rpc.name: (operation, rpc) for operation in operations for rpc in operation.rpc}


class SocketServer:
    """Called once per upgrade; returns when the socket is closed."""

    def __init__(self, house: House, operations: Sequence[Operation], gatekeeper: Gatekeeper) -> None:
        self._house = house
        self._methods = methods_of(operations)
        self._gatekeeper = gatekeeper

    async def __call__(self, upgrade: Upgrade) -> None:
        headers = upgrade.headers
        locale = locale_of(headers.get("accept-language") or "")
        origin = headers.get("origin")
        if not self._gatekeeper.admit_page(origin, headers.get("host"), headers.get("sec-fetch-site"), socket=True):
            log.warning("security.cors_rejected", origin=origin, peer=upgrade.peer)
            refusal = forbidden("origin")
            body = {"error": text_of(refusal, locale), "code": refusal.code, "details": refusal.details}
            return await upgrade.reject(403, msgspec.json.encode(body))
        link = await upgrade.accept(SUBPROTOCOL)
        scheme, _, credential = (headers.get("authorization") or "").partition(" ")
        bearer = credential.strip() if scheme.lower() == "bearer" else None
        connection = Connection(
            self._house,
            self._methods,
            self._gatekeeper,
            link,
            peer=upgrade.peer,
            bearer=bearer or None,
            locale=locale,
        )
        return await connection.live()
