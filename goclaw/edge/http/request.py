"""One HTTP request on its way through the house."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from quart import Request, Response

from goclaw.domain.access import SYSTEM_USER, Caller, Role
from goclaw.domain.errors import Err, Rejected, invalid, malformed
from goclaw.domain.texts import locale_of
from goclaw.edge.gatekeeper import Gatekeeper
from goclaw.operations.activity import denied
from goclaw.operations.context import Context, House
from goclaw.operations.params import S, decode

REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")
DIALECT = "Go-http-client/"  # the published remote CLI, which never sends a user id (wire-compat.md D1)
KEY_CHARS = 200  # edge-http.md §0.1

_decode = msgspec.json.Decoder().decode


class Call:
    """The request, who sends it, and what its path captured."""

    def __init__(self, request: Request, house: House, gatekeeper: Gatekeeper) -> None:
        self.request = request
        self.house = house
        self._gatekeeper = gatekeeper
        self.path: str = request.scope["raw_path"].decode("ascii", "replace")
        self.locale = locale_of(request.headers.get("Accept-Language", ""))
        asked = request.headers.get("X-Request-Id", "")
        self.id = asked if REQUEST_ID.match(asked) else secrets.token_hex(8)
        self.captured: dict[str, str] = {}
        self.replayed = False  # the answer is that of an earlier request with the same key
        self.route = "none"  # as it is declared, for the figures

    @property
    def peer(self) -> str:
        client = self.request.scope.get("client")
        return client[0] if client else ""

    @property
    def now(self) -> float:
        """Epoch seconds."""
        return self.house.system.clock.epoch_ms() / 1000

    @property
    def bare(self) -> bool:
        """It brings no credential in its headers."""
        return not ("Authorization" in self.request.headers or "X-API-Key" in self.request.headers)

    def caller(self, least: Role, credential: str | None = None) -> Caller:
        """Who asks. Raises `Rejected` when it must be known and is not; anonymous routes take anybody.

        `credential` stands for one in the headers, where there is none (edge-auth.md §2.1).
        """
        try:
            presented = credential if self.bare and credential is not None else self._credential()
            caller = self._gatekeeper.caller(presented, self._user_id(), self.peer, self.locale)
        except Rejected:
            if least is Role.ANYONE:
                return Caller(locale=self.locale)
            raise
        if caller.role < least:
            raise denied(self.house, caller, self.path, least, self.peer)
        return caller

    def context(self, caller: Caller) -> Context:
        """Raises `Rejected` for an idempotency key that is none."""
        if self.request.method != "POST":
            return Context(self.house, caller, peer=self.peer)
        key = self.request.headers.get("Idempotency-Key")
        if key is not None and not 0 < len(key.strip()) <= KEY_CHARS:
            raise Rejected(invalid("Idempotency-Key", f"1 to {KEY_CHARS} characters"))
        route = f"POST {self.path}"
        return Context(self.house, caller, peer=self.peer, route=route, idempotency_key=(key or "").strip())

    async def input(self, input: type[S]) -> S:
        """Made from the path and the query, or the body if there is one. Raises `Rejected` naming the field."""
        body = await self.body() if self.request.method not in ("GET", "HEAD") else {}
        if body and not isinstance(body, dict):
            return decode(input, body)
        given = body or self.request.args.to_dict()
        return decode(input, {**given, **self.captured}, strict=bool(body))

    async def body(self) -> Any:
        """The JSON body; nothing counts as `{}`. Raises `Rejected`."""
        kind = self.request.headers.get("Content-Type", "")
        data = await self.request.get_data()
        if not data:
            return {}
        if kind and kind.partition(";")[0].strip().lower() != "application/json":
            raise Rejected(Err("UNSUPPORTED_MEDIA_TYPE", "unsupported_media_type", {"reason": "content_type"}))
        try:
            return _decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            raise Rejected(malformed("JSON body")) from None

    def _credential(self) -> str | None:
        headers = self.request.headers
        given = headers.getlist("Authorization")
        if len(given) > 1:
            raise Rejected(malformed("Authorization header"))
        if given:
            scheme, _, credential = given[0].partition(" ")
            return credential.strip() if scheme.lower() == "bearer" else ""
        return headers.get("X-API-Key")

    def _user_id(self) -> str | None:
        named = self.request.headers.get("X-GoClaw-User-Id")
        if named or self.house.settings.gateway.require_user_id:
            cli = not named and self.request.headers.get("User-Agent", "").startswith(DIALECT)
            return SYSTEM_USER if cli else named
        return SYSTEM_USER


@dataclass(frozen=True)
class Raw:
    """A route whose body is not ours, handled by hand."""

    route: str
    role: Role
    handle: Callable[[Call, Caller], Awaitable[Response]]
