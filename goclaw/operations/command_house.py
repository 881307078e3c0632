"""`/locks`, `/approve`, `/deny`, `/config`, `/reload`, `/estop`: the house, asked from a chat.

Contract: channels.md §10, nodes-autonomy.md §11, config-cli.md §6; tools.md §12.3 (codes), security.md §13.
"""

from __future__ import annotations

import msgspec

from goclaw.domain.access import Role
from goclaw.domain.address import APPROVALS, CONFIG
from goclaw.domain.approval import ListPending
from goclaw.domain.config import Reload
from goclaw.domain.errors import Rejected, approval_gone, forbidden, invalid, role_too_low
from goclaw.operations.approvals import answered, whose
from goclaw.operations.command_reply import say
from goclaw.operations.config import PatchConfig, part_of, patch
from goclaw.operations.context import Context
from goclaw.operations.estop import SetEstop, set_estop
from goclaw.operations.gateway import Nothing
from goclaw.operations.locks import list_locks
from goclaw.security.estop import Levels
from goclaw.settings.show import masked
from goclaw.settings.spoken import spoken

WITHIN = 10.0  # seconds the broker, and the configuration, have
LISTED = 20  # locks that a chat is told of
SHOWN = 4000  # characters of a part of the configuration


async def held(ctx: Context, _key: str, _words: list[str]) -> str:
    found = (await list_locks(ctx, Nothing())).locks
    lines = []
    for lock in found[:LISTED]:
        lines.append(say(ctx, "holds", run=lock.holder_run_id, keys=lock.key))
        lines += [say(ctx, "waits_for", run=waiter.run_id, keys=lock.key) for waiter in lock.waiters[:LISTED]]
    if len(found) > LISTED:
        lines.append(say(ctx, "more", count=len(found) - LISTED))
    return "\n".join(lines) or say(ctx, "no_locks")


async def approve(ctx: Context, _key: str, words: list[str]) -> str:
    if len(words) not in (1, 2) or words[1:] not in ([], ["always"]):
        raise Rejected(invalid("message", "/approve ID or /approve ID always"))
    done = await answered(ctx, await _pending(ctx, words[0], "/approve"), allow=True, always=len(words) > 1)
    return say(ctx, "approved_always" if done.decision == "allow_always" else "approved", id=words[0])


async def deny(ctx: Context, _key: str, words: list[str]) -> str:
    if not words:
        raise Rejected(invalid("message", "/deny ID [reason]"))
    await answered(ctx, await _pending(ctx, words[0], "/deny"), allow=False, reason=" ".join(words[1:]))
    return say(ctx, "denied", id=words[0])


async def _pending(ctx: Context, name: str, command: str) -> str:
    """The id of what waits under this id or code. Admins and those named in the settings answer in a chat."""
    if not ctx.caller.is_admin and ctx.user_id not in ctx.house.settings.tools.exec_approval.approvers:
        raise Rejected(role_too_low(command, Role.ADMIN.label))
    waiting = await ctx.ask(APPROVALS, ListPending(tenant_id=ctx.caller.tenant_id, user_id=whose(ctx)), within=WITHIN)
    for one in waiting:
        if name == one.id or (name.isascii() and name.upper() == one.code):
            return one.id
    raise Rejected(approval_gone(name[:64]))


async def config(ctx: Context, _key: str, words: list[str]) -> str:
    """Values are masked as everywhere. What is set is the owner's business (config-cli.md §6.2)."""
    match words:
        case ["get" | "show", path]:
            text = _json(part_of(masked(ctx.house.settings), path))
            if len(text) > SHOWN:
                raise Rejected(invalid("path", f"longer than {SHOWN} characters, name a part of it"))
            return f"{path} = {text}"
        case ["set", path, *rest] if rest:
            return await _set(ctx, path, spoken(" ".join(rest)))
        case ["unset", path]:
            return await _set(ctx, path, None)
    raise Rejected(invalid("message", "/config get PATH, /config set PATH VALUE or /config unset PATH"))


async def _set(ctx: Context, path: str, value: object) -> str:
    if not ctx.caller.is_owner:
        raise Rejected(forbidden("owner"))
    done = await patch(ctx, PatchConfig(key=path, given={"value": value}))
    if done.restart_needed:
        return say(ctx, "config_set_later", restart=", ".join(done.restart_needed))
    if done.overridden:
        return say(ctx, "config_overridden", keys=", ".join(done.overridden))
    return say(ctx, "config_set", keys=", ".join(done.changed) or "-")


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


async def reload(ctx: Context, _key: str, _words: list[str]) -> str:
    done = await ctx.ask(CONFIG, Reload(), within=WITHIN)
    if done.errors:
        return say(ctx, "reload_refused", errors="\n".join(done.errors[:LISTED]))
    return say(ctx, "reloaded", applied=", ".join(done.applied) or "-", restart=", ".join(done.restart) or "-")


async def estop(ctx: Context, _key: str, words: list[str]) -> str:
    """Everything, at once. It is released where there are no agents: by RPC or `goclaw estop --release`."""
    await set_estop(ctx, SetEstop(engage=True, levels=Levels(all=True), reason=" ".join(words)))
    return say(ctx, "estop")
