"""Secrets of the database, sealed so that each opens only in the row it was written for.

AES-256-GCM; contract: security.md §8.1, data-model.md §3. A `Place` is the additional data: a ciphertext moved to
another row or column does not open.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any, Literal, NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from goclaw.domain.errors import Rejected, StartupFatal, failed_precondition
from goclaw.settings.encryption import Encryption

KEY = 32  # bytes
NONCE = 12  # bytes
TAG = 16  # bytes
KID = 4  # bytes
BINARY = b"\x02"  # version of the binary form
BARE = "aes-gcm:"  # text without a place: read for import, never written
BOUND = "aes-gcm2:"
SEALED = re.compile(r"aes-gcm\d*:")
HEX = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
BASE64 = re.compile(r"[A-Za-z0-9+/_-]{43}=?", re.ASCII)


class Place(NamedTuple):
    """Where a secret lives: `column` is `table.column`, `row` the row's id, in lower case."""

    column: str
    row: str

    @property
    def bound(self) -> bytes:
        return f"{self.column}:{self.row}".encode("ascii")


Touch = Literal["read", "written", "unreadable"]
KEPT = frozenset({"run_records.body_enc", "hook_executions.error_detail"})  # sealed, and no keys of anybody


def nobody(_what: Touch, _place: Place) -> None:
    """Does not want to know."""


class SecretUnreadable(Exception):
    """A sealed value that does not open: damaged, of another place, or sealed with a key we do not have."""

    def __init__(self, place: Place) -> None:
        super().__init__(f"secret_unreadable: {place.column}:{place.row}")
        self.place = place


class NotAKey(ValueError):
    """The text is in none of the forms of a key. Never says the text."""


def key_of(text: str) -> bytes:
    """The 32 bytes of a key: 64 hex digits, 43 or 44 characters of base64 or base64url, or 32 ASCII characters.

    Blanks and newlines around it do not count. Raises NotAKey.
    """
    text = text.strip()
    if HEX.fullmatch(text):
        return bytes.fromhex(text)
    if BASE64.fullmatch(text):
        key = base64.urlsafe_b64decode(text[:43].replace("+", "-").replace("/", "_") + "=")
        if len(key) == KEY:
            return key
    if len(text) == KEY and text.isascii():
        return text.encode()
    raise NotAKey("a key is 64 hex digits, 32 bytes in base64, or 32 ASCII characters")


def kid_of(key: bytes) -> str:
    """Names a key without telling it."""
    return hashlib.sha256(key).digest()[:KID].hex()


def box_of(keys: Encryption) -> Box:
    """The box of a gateway. Raises StartupFatal E_ENCRYPTION_KEY for what is no key."""
    name, found = "GOCLAW_ENCRYPTION_KEY", []
    try:
        key = key_of(keys.key.reveal()) if keys.key else None
        name = "GOCLAW_ENCRYPTION_KEY_OLD"
        found = [key_of(text) for text in keys.former]
    except NotAKey as error:
        raise StartupFatal("E_ENCRYPTION_KEY", f"{name}: {error}", "make one: openssl rand -hex 32") from None
    return Box(key, found)


class Box:
    """Seals with one key, opens also what former keys sealed. Without a key it refuses to seal and opens nothing.

    `nonce` is for known answers only: a nonce used twice gives both plaintexts away.
    """

    def __init__(
        self, key: bytes | None = None, former: Iterable[bytes] = (), *, nonce: Callable[[int], bytes] = os.urandom
    ) -> None:
        self.kid = kid_of(key) if key else ""
        self._key = key or os.urandom(KEY)  # without one what it signs ends with the process
        self._locks = {kid_of(each): AESGCM(each) for each in (*former, *((key,) if key else ()))}
        self._nonce = nonce
        self.told: Callable[[Touch, Place], None] = nobody  # who hears of every secret that is touched

    def unwatched(self) -> Box:
        """The same, for what touches all secrets and is one act."""
        other = copy(self)
        other.told = nobody
        return other

    def signing(self, purpose: str) -> bytes:
        """A key for signatures of one purpose, the same on every node that has ours."""
        return hmac.digest(self._key, f"goclaw/{purpose}".encode(), "sha256")

    def seal(self, text: str, place: Place) -> str:
        """Raises Rejected (`no_encryption_key`) without a key: a secret is never stored in clear."""
        self._need_key()
        self._touched("written", place)
        return f"{BOUND}{self.kid}:{base64.b64encode(self._encrypt(text.encode(), place)).decode()}"

    def unseal(self, stored: str, place: Place) -> str:
        """The text. What was stored in clear before there were keys is returned as it is. Raises SecretUnreadable."""
        if not SEALED.match(stored):
            return stored
        with self._telling(place):
            if stored.startswith(BARE):
                return self._text(self._decrypt_bare(_decoded(stored.removeprefix(BARE), place), place), place)
            kid, colon, body = stored.removeprefix(BOUND).partition(":")
            if not stored.startswith(BOUND) or not colon:
                raise SecretUnreadable(place)
            return self._text(self._decrypt(kid, _decoded(body, place), place, place.bound), place)

    def seal_object(self, value: Any, place: Place) -> bytes:
        """JSON data in the binary form. Raises as `seal` does."""
        self._need_key()
        self._touched("written", place)
        plain = msgspec.json.encode(value, order="sorted")
        return BINARY + bytes.fromhex(self.kid) + self._encrypt(plain, place)

    def unseal_object(self, stored: bytes, place: Place) -> Any:
        """Raises SecretUnreadable."""
        with self._telling(place):
            if stored[:1] != BINARY:
                raise SecretUnreadable(place)
            plain = self._decrypt(stored[1 : 1 + KID].hex(), stored[1 + KID :], place, place.bound)
            try:
                return msgspec.json.decode(plain)
            except msgspec.DecodeError:
                raise SecretUnreadable(place) from None

    def current(self, stored: str | bytes) -> bool:
        """Whether a value is sealed in today's form with today's key; otherwise the next write or rotation seals it."""
        if isinstance(stored, bytes):
            return bool(self.kid) and stored.startswith(BINARY + bytes.fromhex(self.kid))
        return bool(self.kid) and stored.startswith(f"{BOUND}{self.kid}:")

    def _touched(self, what: Touch, place: Place) -> None:
        if place.column not in KEPT:
            self.told(what, place)

    @contextmanager
    def _telling(self, place: Place) -> Iterator[None]:
        try:
            yield
        except SecretUnreadable:
            self._touched("unreadable", place)
            raise
        self._touched("read", place)

    def _need_key(self) -> None:
        if not self.kid:
            raise Rejected(failed_precondition("no_encryption_key", hint="set GOCLAW_ENCRYPTION_KEY"))

    def _encrypt(self, plain: bytes, place: Place) -> bytes:
        nonce = self._nonce(NONCE)
        return nonce + self._locks[self.kid].encrypt(nonce, plain, place.bound)

    def _decrypt(self, kid: str, sealed: bytes, place: Place, bound: bytes | None) -> bytes:
        lock = self._locks.get(kid)
        if lock is None or len(sealed) < NONCE + TAG:
            raise SecretUnreadable(place)
        try:
            return lock.decrypt(sealed[:NONCE], sealed[NONCE:], bound)
        except InvalidTag:
            raise SecretUnreadable(place) from None

    def _decrypt_bare(self, sealed: bytes, place: Place) -> bytes:
        """The old form does not say which key it is of: each is tried, today's first."""
        for kid in sorted(self._locks, key=lambda kid: kid != self.kid):
            try:
                return self._decrypt(kid, sealed, place, None)
            except SecretUnreadable:
                continue
        raise SecretUnreadable(place)

    def _text(self, plain: bytes, place: Place) -> str:
        try:
            return plain.decode()
        except UnicodeDecodeError:
            raise SecretUnreadable(place) from None


def _decoded(text: str, place: Place) -> bytes:
    """Only the one spelling `b64encode` gives: spare bits of the last character are not ignored."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SecretUnreadable(place) from None
    if base64.b64encode(raw).decode() != text:
        raise SecretUnreadable(place)
    return raw
