"""How messages travel to another node. Contract: supervision.md §2.1, §3 M4, M5."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

import msgspec
import pytest

from goclaw.runtime.address import Address
from goclaw.runtime.faults import NotRemotable
from goclaw.runtime.message import Asked, Envelope, Message
from goclaw.runtime.reply import Reply
from goclaw.runtime.values import BlobRef, FrozenMap, Secret
from goclaw.runtime.wire import Codec, cluster_address, pack, parse_cluster_address

NODE = UUID("0193a5b0-1111-7000-8000-000000000001")
TO = Address("sessions", "acme", "agent:main:cli:notes")


class Note(Message[int]):
    TYPE: ClassVar[str] = "note"
    text: str
    to: Address = TO
    facts: FrozenMap[str, int] = FrozenMap()
    blob: BlobRef | None = None
    key: Secret | None = None


class NewerNote(Note):
    TYPE: ClassVar[str] = "note"
    VERSION: ClassVar[int] = 2
    mood: str = "calm"


class Opener(Message[None]):
    REMOTE: ClassVar[bool] = False


@pytest.fixture
def codec() -> Codec:
    return Codec([Note])


def test_a_message_arrives_as_it_left(codec: Codec) -> None:
    note = Note(text="x", facts=FrozenMap({"a": 1}), blob=BlobRef("b", 3, "00"))
    parcel = codec.open(pack(TO, Envelope(note, sender=Address("a")), now=0.0))

    assert codec.message(parcel) == note
    assert (parcel.to, parcel.sender, parcel.remaining_ms) == (TO, "/a", None)


def test_an_ask_carries_its_rest_of_time_and_who_waits(codec: Codec) -> None:
    asked = Asked(Note(text="x"), Address("a"), None, Reply(), deadline=12.5, chain=(Address("a"), Address("b")))
    parcel = codec.open(pack(TO, asked, now=10.0, ask_id="7"))

    assert (parcel.remaining_ms, parcel.ask_id, parcel.chain) == (2500, "7", ("/a", "/b"))


def test_an_older_node_ignores_what_it_does_not_know_and_relays_it_unchanged(codec: Codec) -> None:
    sent = pack(TO, Envelope(NewerNote(text="x", mood="cross")), now=0.0)
    parcel = codec.open(sent)

    assert codec.message(parcel) == Note(text="x")
    assert msgspec.json.decode(msgspec.json.encode(parcel)) == msgspec.json.decode(sent)


def test_a_newer_node_fills_in_what_an_older_one_did_not_send() -> None:
    parcel = Codec([]).open(pack(TO, Envelope(Note(text="x")), now=0.0))

    assert Codec([NewerNote]).message(parcel) == NewerNote(text="x")


def test_a_secret_does_not_travel_in_the_open() -> None:
    assert b"hunter2" not in pack(TO, Envelope(Note(text="x", key=Secret("hunter2"))), now=0.0)


def test_a_local_handle_does_not_travel() -> None:
    with pytest.raises(NotRemotable, match="opener"):
        pack(TO, Envelope(Opener()), now=0.0)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"to":1}', b"\xff"])
def test_garbage_is_no_parcel(codec: Codec, data: bytes) -> None:
    with pytest.raises(ValueError):
        codec.open(data)


def test_an_unknown_type_is_named(codec: Codec) -> None:
    parcel = Codec([]).open(pack(TO, Envelope(Note(text="x")), now=0.0))
    with pytest.raises(ValueError, match="'note'"):
        Codec([]).message(parcel)


def test_cluster_addresses_name_the_node() -> None:
    text = cluster_address(NODE, TO)
    assert text == f"goclaw://{NODE}/sessions/acme/agent:main:cli:notes"
    assert parse_cluster_address(text) == (NODE, TO)


@pytest.mark.parametrize("text", ["", "/a", "goclaw://", "goclaw://x/a", f"goclaw://{NODE}/../a"])
def test_other_texts_are_no_cluster_addresses(text: str) -> None:
    with pytest.raises(ValueError):
        parse_cluster_address(text)
