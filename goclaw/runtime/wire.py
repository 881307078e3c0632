"""How messages travel to another node. The transport comes later; the form is fixed here.

Contract: supervision.md §2.1 (cluster addresses), §3 M4 and the envelope.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from goclaw.runtime.address import Address
from goclaw.runtime.faults import NotRemotable
from goclaw.runtime.message import Envelope, Message
from goclaw.runtime.values import FrozenMap, Secret, plain

SCHEME = "goclaw://"


class Parcel(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An envelope on its way. `body` stays as it came, so a relay loses nothing it does not know."""

    to: str
    type: str
    version: int
    body: msgspec.Raw
    sender: str = ""
    remaining_ms: int | None = None  # until its asker gives up; None if it was told
    ask_id: str = ""
    chain: tuple[str, ...] = ()


def cluster_address(node_id: UUID, address: Address) -> str:
    """`goclaw://<node>/seg/…`"""
    return f"{SCHEME}{node_id}{address}"


def parse_cluster_address(text: str) -> tuple[UUID, Address]:
    """The node and the path on it. Raises ValueError."""
    if not text.startswith(SCHEME):
        raise ValueError(f"a cluster address starts with {SCHEME}: {text[:80]!r}")
    node, slash, path = text.removeprefix(SCHEME).partition("/")
    return UUID(node), Address.parse(slash + path)


def pack(to: Address, envelope: Envelope, now: float, ask_id: str = "") -> bytes:
    """An envelope as bytes, `now` in monotonic seconds. Raises `NotRemotable` for a message with a local handle."""
    kind = type(envelope.message)
    if not kind.REMOTE:
        raise NotRemotable(f"{kind.TYPE} holds a local handle")
    parcel = Parcel(
        to=to,
        type=kind.TYPE,
        version=kind.VERSION,
        body=msgspec.Raw(msgspec.json.encode(envelope.message, enc_hook=plain)),
        sender=envelope.sender or "",
        remaining_ms=max(0, int((envelope.deadline - now) * 1000)) if envelope.asked else None,
        ask_id=ask_id,
        chain=envelope.chain,
    )
    return msgspec.json.encode(parcel, enc_hook=plain)


class Codec:
    """Reads parcels back; knows the message types it was given by their TYPE."""

    def __init__(self, types: Iterable[type[Message[Any]]]) -> None:
        self._types = {kind.TYPE: kind for kind in types}

    def open(self, data: bytes) -> Parcel:
        """The parcel, its body unread. Raises ValueError."""
        return msgspec.json.decode(data, type=Parcel)

    def message(self, parcel: Parcel) -> Message[Any]:
        """What is in it: unknown fields are ignored, missing new ones take their defaults. Raises ValueError."""
        kind = self._types.get(parcel.type)
        if kind is None:
            raise ValueError(f"no message type {parcel.type!r} is known here")
        message: Message[Any] = msgspec.json.decode(parcel.body, type=kind, dec_hook=_read)
        return message


def _read(kind: type, value: Any) -> Any:
    if kind is Address:
        return Address.parse(value)
    if getattr(kind, "__origin__", kind) is FrozenMap:
        return FrozenMap(value)
    if kind is Secret:
        return Secret(value)
    raise TypeError(f"{kind.__name__} does not travel")
