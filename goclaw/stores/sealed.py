"""Every column that holds secrets, for who seals them with another key. Contract: data-model.md §3."""

from __future__ import annotations

from msgspec import Struct

from goclaw.stores.unit import Connection, many, transaction

BATCH = 200  # rows at a time
FIRST = "00000000-0000-0000-0000-000000000000"


class Column(Struct, frozen=True):
    """`table.name`, and how its rows are named, found and put in order."""

    table: str
    name: str
    row: str = "id::text"  # what its secrets are bound to
    is_it: str = "id = %(row)s::uuid"
    beyond: str = "id > %(row)s::uuid"
    order: str = "id"
    first: str = FIRST  # before every row
    bytes: bool = False

    def __str__(self) -> str:
        return f"{self.table}.{self.name}"


class Secret(Struct, frozen=True):
    row: str
    value: str  # binary ones in hex


RECORD = "(split_part(%(row)s, ':', 1)::uuid, split_part(%(row)s, ':', 2)::int)"

COLUMNS = (
    Column("llm_providers", "api_key"),
    Column("oauth_tokens", "access_token"),
    Column("oauth_tokens", "refresh_token"),
    Column("oauth_tokens", "id_token"),
    Column("hooks", "secrets", bytes=True),
    Column("hook_executions", "error_detail", bytes=True),
    Column(
        "run_records",
        "body_enc",
        row="run_id || ':' || seq",
        is_it=f"(run_id, seq) = {RECORD}",
        beyond=f"(run_id, seq) > {RECORD}",
        order="run_id, seq",
        first=f"{FIRST}:0",
        bytes=True,
    ),
)


@transaction(readonly=True)
async def others(db: Connection, *, column: Column, kid: str, after: str) -> list[Secret]:
    """The next batch of secrets that are not sealed with the key `kid`."""
    c = column
    shown = f"encode({c.name}, 'hex')" if c.bytes else c.name
    current = f"02{kid}%" if c.bytes else f"aes-gcm2:{kid}:%"
    found = f"""
    SELECT {c.row} AS row, {shown} AS value FROM {c.table}
    WHERE {c.name} IS NOT NULL AND {c.beyond} AND {shown} NOT LIKE %(current)s ORDER BY {c.order} LIMIT {BATCH}
    """
    return await many(Secret, db.execute(found, {"row": after, "current": current}))


@transaction
async def replace(db: Connection, *, column: Column, secret: Secret, value: str) -> None:
    """The same secret under another seal, unless it was written meanwhile."""
    c = column
    old, new = ("decode(%(old)s, 'hex')", "decode(%(new)s, 'hex')") if c.bytes else ("%(old)s", "%(new)s")
    change = f"UPDATE {c.table} SET {c.name} = {new} WHERE {c.is_it} AND {c.name} = {old}"
    await db.execute(change, {"row": secret.row, "old": secret.value, "new": value})
