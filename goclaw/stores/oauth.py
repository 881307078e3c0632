"""Accounts that logged in instead of having a key. Table `oauth_tokens` (migration 0024). Tokens come sealed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from goclaw.stores.unit import Connection, maybe, transaction

COLUMN = "oauth_tokens."  # and the name of the token


class TokenRow(Struct, frozen=True, kw_only=True):
    id: str
    provider_id: str
    access_token: str  # sealed
    refresh_token: str | None  # sealed
    account: dict[str, Any]
    expires_at: datetime | None
    last_error: str | None


FIND = """
SELECT id, provider_id, access_token, refresh_token, account, expires_at, last_error FROM oauth_tokens
WHERE provider_id = %(provider)s AND user_id = ''
"""

PUT = """
INSERT INTO oauth_tokens (id, tenant_id, provider_id, kind, access_token, refresh_token, id_token, scopes, account,
  expires_at, last_refresh_at)
VALUES (%(id)s, %(tenant)s, %(provider)s, %(kind)s, %(access_token)s, %(refresh_token)s, %(id_token)s, %(scopes)s,
  %(account)s::jsonb, %(expires_at)s, now())
"""

# A login that came meanwhile is not undone by a refresh of the one before.
REFRESH = """
UPDATE oauth_tokens SET access_token = %(access_token)s, refresh_token = %(refresh_token)s,
  expires_at = %(expires_at)s, last_refresh_at = now(), last_error = NULL, updated_at = now()
WHERE id = %(id)s
"""

FAIL = "UPDATE oauth_tokens SET last_error = %(error)s, updated_at = now() WHERE id = %(id)s"
FORGET = "DELETE FROM oauth_tokens WHERE provider_id = %(provider)s"
TOUCH = "UPDATE llm_providers SET updated_at = now() WHERE id = %(provider)s"


@transaction(readonly=True)
async def find(db: Connection, *, provider: str) -> TokenRow | None:
    return await maybe(TokenRow, db.execute(FIND, {"provider": provider}))


@transaction
async def put(db: Connection, /, *, provider: str, **token: Any) -> None:
    """A fresh login in place of the one before. The provider counts as changed: its next call uses it."""
    await db.execute(FORGET, {"provider": provider})
    await db.execute(PUT, {**token, "provider": provider})
    await db.execute(TOUCH, {"provider": provider})


@transaction
async def refresh(db: Connection, /, **token: Any) -> None:
    await db.execute(REFRESH, token)


@transaction
async def fail(db: Connection, *, id: str, error: str) -> None:
    await db.execute(FAIL, {"id": id, "error": error[:500]})


@transaction
async def forget(db: Connection, *, provider: str) -> None:
    """Logged out."""
    await db.execute(FORGET, {"provider": provider})
    await db.execute(TOUCH, {"provider": provider})
