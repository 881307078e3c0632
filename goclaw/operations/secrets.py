"""Secrets of the database under a new key. Contract: data-model.md §3, security.md §8.1."""

from __future__ import annotations

from msgspec import Struct

from goclaw.domain.access import Role
from goclaw.domain.errors import Rejected, failed_precondition, forbidden
from goclaw.operations.activity import record, recorded
from goclaw.operations.context import Context
from goclaw.operations.operation import Cli, Rpc, operation
from goclaw.security.box import Place, SecretUnreadable
from goclaw.stores import sealed
from goclaw.stores.sealed import COLUMNS, Column


class RotateSecrets(Struct, kw_only=True):
    """With today's key, which former ones (GOCLAW_ENCRYPTION_KEY_OLD) must open."""


class Rotated(Struct, kw_only=True):
    rotated: int
    unreadable: list[str]  # `table.column:row` of what no key we have opens; it is left as it is


@operation(Rpc("secrets.rotate", Role.ADMIN), Cli("secrets rotate"))
@recorded
async def rotate(ctx: Context, ask: RotateSecrets) -> Rotated:
    """Seal every secret with today's key. It can be ended at any point and begun again."""
    if not ctx.caller.is_owner:
        raise Rejected(forbidden("owner"))  # it touches every tenant
    if not ctx.house.box.kid:
        raise Rejected(failed_precondition("no_encryption_key", hint="set GOCLAW_ENCRYPTION_KEY"))
    done = Rotated(rotated=0, unreadable=[])
    for column in COLUMNS:
        await _rotate(ctx, column, done)
    figures = {"rotated": done.rotated, "unreadable": len(done.unreadable)}
    await record(ctx, "secret.rotated", "secrets", ctx.house.box.kid, **figures)
    return done


async def _rotate(ctx: Context, column: Column, done: Rotated) -> None:
    box, after = ctx.house.box.unwatched(), column.first
    while secrets := await ctx.db(sealed.others, column=column, kid=box.kid, after=after):
        for secret in secrets:
            after, place = secret.row, Place(str(column), secret.row)
            try:
                if column.bytes:
                    value = box.unseal_object(bytes.fromhex(secret.value), place)
                    again = box.seal_object(value, place).hex()
                else:
                    again = box.seal(box.unseal(secret.value, place), place)
            except SecretUnreadable:
                done.unreadable.append(f"{column}:{secret.row}")
                continue
            await ctx.db(sealed.replace, column=column, secret=secret, value=again)
            done.rotated += 1
