"""Known answers and damaged values of security.md §8.1."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from goclaw.domain.errors import Rejected
from goclaw.security.box import Box, NotAKey, Place, SecretUnreadable, key_of, kid_of

KEY = bytes(range(32))
OTHER = bytes(range(1, 33))
PLACE = Place("llm_providers.api_key", "0196a000-0000-7000-8000-000000000001")
BARE = "aes-gcm:AAECAwQFBgcICQoLL2e6d6rFpXTuLfb85q6qeMOBCW4cIEv6DzP38Q=="
BOUND = "aes-gcm2:630dcd29:AAECAwQFBgcICQoLL2e6d6rFpXTuLfb8ZDQnSrJcEkmjxybRTcY/vg=="
EMPTY = "aes-gcm2:630dcd29:AAECAwQFBgcICQoLtfJMzf9tNe89X46M3AurWw=="
ENV_PLACE = Place("custom_tools.env", "0196a000-0000-7000-8000-000000000002")
ENV = bytes.fromhex(
    "02630dcd29000102030405060708090a0b3c209739ffc7f339a163d5a98bcb004dfaf4fa2ca7c1a719223c1888f46a79f31cdd73"
)


@pytest.fixture
def box() -> Box:
    return Box(KEY, nonce=lambda length: bytes(range(length)))


def test_known_answers(box: Box) -> None:
    """SEC-29."""
    assert box.kid == "630dcd29"
    assert box.seal("hello goclaw", PLACE) == BOUND
    assert box.seal("", PLACE) == EMPTY
    assert box.seal_object({"B": "x y", "A": "1"}, ENV_PLACE) == ENV

    assert box.unseal(BOUND, PLACE) == "hello goclaw"
    assert box.unseal(EMPTY, PLACE) == ""
    assert box.unseal(BARE, PLACE) == "hello goclaw"
    assert box.unseal_object(ENV, ENV_PLACE) == {"A": "1", "B": "x y"}


def test_the_old_form_with_a_key_of_characters() -> None:
    key = key_of("abcdefghijklmnopqrstuvwxyz012345")

    assert kid_of(key) == "653bb124"
    sealed = "aes-gcm:AAECAwQFBgcICQoLHQzUBFgzvyTcsTgqIjwnVpbf0NH+HnNpumLiIg=="
    assert Box(OTHER, [KEY, key]).unseal(sealed, PLACE) == "hello goclaw"


@pytest.mark.parametrize(
    "text",
    [
        KEY.hex(),
        KEY.hex().upper(),
        f" {KEY.hex()}\n",
        base64.b64encode(KEY).decode(),
        base64.b64encode(KEY).decode().rstrip("="),
        base64.urlsafe_b64encode(bytes([255] * 32)).decode(),
        base64.b64encode(bytes([255] * 32)).decode(),
        "0123456789abcdef" * 2,  # 32 hex digits count as characters
        base64.b64encode(bytes(24)).decode(),  # so do 24 bytes in base64
    ],
)
def test_forms_of_a_key(text: str) -> None:
    assert len(key_of(text)) == 32


@pytest.mark.parametrize("text", ["", " ", "a" * 31, KEY.hex()[:63] + "g", "é" * 32, "a" * 33, KEY.hex() + "00"])
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(NotAKey) as refused:
        key_of(text)

    assert not text.strip() or text not in str(refused.value)


@pytest.mark.parametrize(
    ("stored", "place"),
    [
        (BOUND[:-3] + "w==", PLACE),
        (BOUND[:-3] + "h==", PLACE),  # the same bytes, spelled otherwise
        (BOUND, Place(PLACE.column, PLACE.row[:-1] + "2")),
        (BOUND, Place("mcp_servers.api_key", PLACE.row)),
        (BOUND.replace("630dcd29", "00000000"), PLACE),
        (BOUND.replace("630dcd29:", ""), PLACE),
        (BOUND[:40], PLACE),
        (BOUND + "!", PLACE),
        ("aes-gcm:AAAA", PLACE),
        ("aes-gcm:é", PLACE),
        ("aes-gcm2:", PLACE),
        ("aes-gcm3:630dcd29:" + BOUND.rpartition(":")[2], PLACE),
    ],
)
def test_what_does_not_open(box: Box, stored: str, place: Place) -> None:
    """SEC-29, SEC-30."""
    with pytest.raises(SecretUnreadable, match="secret_unreadable"):
        box.unseal(stored, place)


@pytest.mark.parametrize("stored", [b"", b"\x02", b"\x01" + ENV[1:], ENV[:-1], ENV[:5], ENV + b"\0"])
def test_binary_that_does_not_open(box: Box, stored: bytes) -> None:
    with pytest.raises(SecretUnreadable):
        box.unseal_object(stored, ENV_PLACE)


@given(some.binary(max_size=200), some.integers(min_value=0, max_value=8 * len(ENV) - 1))
def test_any_bit_matters(noise: bytes, bit: int) -> None:
    turned = bytearray(ENV)
    turned[bit // 8] ^= 1 << bit % 8

    for stored in (bytes(turned), noise):
        with pytest.raises(SecretUnreadable):
            Box(KEY).unseal_object(stored, ENV_PLACE)


@given(some.text(), some.dictionaries(some.text(), some.integers(min_value=-(2**53), max_value=2**53)))
def test_what_is_sealed_opens(text: str, value: dict[str, Any]) -> None:
    box = Box(KEY)

    assert box.unseal(box.seal(text, PLACE), PLACE) == text
    assert box.unseal_object(box.seal_object(value, ENV_PLACE), ENV_PLACE) == value
    assert box.seal(text, PLACE) != box.seal(text, PLACE)  # a nonce is never used twice


def test_what_was_stored_in_clear_is_read_and_due_for_sealing(box: Box) -> None:
    assert box.unseal("sk-plain", PLACE) == "sk-plain"
    assert [box.current(stored) for stored in ("sk-plain", BARE, BOUND, ENV)] == [False, False, True, True]


def test_a_former_key_opens_and_is_replaced_at_the_next_write() -> None:
    box = Box(OTHER, [KEY])

    assert box.unseal(BOUND, PLACE) == "hello goclaw"
    assert box.unseal_object(ENV, ENV_PLACE) == {"A": "1", "B": "x y"}
    assert not box.current(BOUND)
    assert not box.current(ENV)
    sealed = box.seal("hello goclaw", PLACE)
    assert box.current(sealed)
    assert "630dcd29" not in sealed


def test_without_a_key_nothing_is_stored_in_clear_and_nothing_opens() -> None:
    box = Box()

    with pytest.raises(Rejected) as refused:
        box.seal("hello goclaw", PLACE)
    assert refused.value.err.code == "FAILED_PRECONDITION"
    assert refused.value.err.details == {"reason": "no_encryption_key", "hint": "set GOCLAW_ENCRYPTION_KEY"}
    with pytest.raises(Rejected):
        box.seal_object({}, ENV_PLACE)
    with pytest.raises(SecretUnreadable):
        box.unseal(BOUND, PLACE)
    assert not box.current(BOUND)
