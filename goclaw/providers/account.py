"""The headers of calls that an account pays: its token, renewed before it ends. Contract: providers.md §7.3."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import trio

from goclaw.domain.errors import ProviderError, StoreError
from goclaw.providers.authority import renew
from goclaw.security.box import Box, Place, SecretUnreadable
from goclaw.security.known import Known
from goclaw.stores import oauth
from goclaw.stores.oauth import COLUMN, TokenRow

EARLY = timedelta(minutes=5)  # before a token ends it is renewed


def login(provider_id: str) -> str:
    """Who holds the tokens of an account."""
    return f"login {provider_id}"


class Account:
    """Of one provider. However many calls there are, its token is renewed once.

    `db` runs a store function, `now` is the time. What another node has renewed is seen before this one tries.
    """

    def __init__(
        self,
        provider_id: str,
        box: Box,
        authority: str,
        db: Callable[..., Awaitable[Any]],
        known: Known,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._provider_id = provider_id
        self._box = box
        self._authority = authority
        self._db = db
        self._known = known
        self._now = now
        self._row: TokenRow | None = None
        self._alone = trio.Lock()

    async def headers(self) -> dict[str, str]:
        """Raises ProviderError, `auth_permanent` for who must log in again."""
        row = self._row
        if row is None or self._ends_soon(row):
            async with self._alone:
                row = self._row
                if row is None or self._ends_soon(row):
                    row = self._row = await self._fresh()
        account = row.account.get("account_id")
        named = {"chatgpt-account-id": account} if account else {}
        return {"Authorization": f"Bearer {self._open(row, 'access_token')}", **named}

    async def _fresh(self) -> TokenRow:
        row = await self._read()
        if not self._ends_soon(row):
            return row
        if not row.refresh_token:
            raise ProviderError("auth_permanent", "the login has ended: log in again")
        try:
            tokens = await renew(self._authority, self._open(row, "refresh_token"))
        except ProviderError as error:
            now_there = await self._read()
            if now_there != row and not self._ends_soon(now_there):
                return now_there  # another node was first
            if error.kind != "auth_permanent" and not self._over(row):
                return row  # good for some minutes yet
            await self._db(oauth.fail, id=row.id, error=error.message)
            raise
        kept = tokens.refresh_token or self._open(row, "refresh_token")
        ends = self._now() + timedelta(seconds=tokens.expires_in)
        await self._db(
            oauth.refresh,
            id=row.id,
            access_token=self._box.seal(tokens.access_token, Place(COLUMN + "access_token", row.id)),
            refresh_token=self._box.seal(kept, Place(COLUMN + "refresh_token", row.id)),
            expires_at=ends,
        )
        return await self._read()

    async def _read(self) -> TokenRow:
        try:
            row: TokenRow | None = await self._db(oauth.find, provider=self._provider_id)
        except StoreError as outage:
            raise ProviderError("server_error", f"the login cannot be read: {outage}") from None
        if row is None:
            raise ProviderError("auth_permanent", "nobody has logged in")
        tokens = []
        for name in ("access_token", "refresh_token"):
            with suppress(ProviderError):  # who needs it will hear of it
                tokens.append(self._open(row, name))
        self._known.hold(login(self._provider_id), tokens)
        return row

    def _ends_soon(self, row: TokenRow) -> bool:
        return row.expires_at is not None and row.expires_at - EARLY <= self._now()

    def _over(self, row: TokenRow) -> bool:
        return row.expires_at is not None and row.expires_at <= self._now()

    def _open(self, row: TokenRow, name: str) -> str:
        sealed = row.access_token if name == "access_token" else row.refresh_token or ""
        try:
            return self._box.unseal(sealed, Place(COLUMN + name, row.id))
        except SecretUnreadable:
            raise ProviderError("auth_permanent", "the login cannot be opened: log in again") from None
