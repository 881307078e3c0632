"""The handshake: a connect frame becomes a caller. Contract: edge-websocket.md §5, wire-compat.md B2."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct

from goclaw.domain.access import Caller
from goclaw.domain.errors import Err, Rejected, failed_precondition, unauthorized
from goclaw.domain.texts import LOCALES
from goclaw.edge.gatekeeper import Gatekeeper
from goclaw.operations.gateway import PROTOCOL
from goclaw.operations.params import decode


class Client(Struct, kw_only=True):
    """What a client says of itself; shown in health."""

    name: Annotated[str, Meta(max_length=100)] = ""
    version: Annotated[str, Meta(max_length=100)] = ""
    platform: Annotated[str, Meta(max_length=100)] = ""
    mode: Annotated[str, Meta(max_length=20)] = ""


class Connect(Struct, kw_only=True):
    ALIASES: ClassVar = {"protocol_version": "protocol", "session_token": "sender_id", "tenant_scope": "tenant_id"}

    protocol: int | None = None
    token: str | None = None
    pairing_code: str | None = None
    sender_id: str | None = None
    user_id: Annotated[str, Meta(max_length=255)] | None = None
    tenant_id: str | None = None
    tenant_hint: str | None = None
    locale: str | None = None
    client: Client | None = None


def greet(
    gatekeeper: Gatekeeper, params: dict[str, Any], *, bearer: str | None, peer: str, locale: str
) -> tuple[Caller, Client]:
    """The decision table of §5.1, as far as its credentials exist. Raises `Rejected`.

    Tenants are ignored while there is one: an unknown tenant must not lock a browser out (edge-auth.md §6).
    """
    ask = decode(Connect, params)
    if ask.protocol not in (None, PROTOCOL):
        raise Rejected(failed_precondition("protocol", supported=[PROTOCOL]))
    spoken = (ask.locale or "").partition("-")[0].lower()
    locale = next((known for known in LOCALES if known == spoken), locale)
    token = ask.token or bearer
    if token is None and not gatekeeper.dev_mode:
        if ask.sender_id:  # no pairing is known here, so this one is not
            raise Rejected(Err("UNAUTHORIZED", "unauthorized", {"reason": "revoked", "pairing": "required"}))
        if ask.pairing_code:
            raise Rejected(Err("NOT_PAIRED", "not_paired", {"reason": "not_paired", "status": "expired"}))
        raise Rejected(unauthorized("unauthenticated"))
    return gatekeeper.caller(token, ask.user_id, peer, locale), ask.client or Client()
