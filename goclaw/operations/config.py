"""The configuration: look at it, change it, read it again. Contract: edge-websocket.md §7.5, config-cli.md §6.2."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, ClassVar

import trio
from msgspec import Meta, Struct

from goclaw.domain.access import MASTER_TENANT, Role
from goclaw.domain.address import CONFIG
from goclaw.domain.config import ConfigEvent, LastReload, Reload, Reloaded
from goclaw.domain.errors import Err, Rejected, failed_precondition, forbidden, invalid, unavailable
from goclaw.domain.events import body, of_admins
from goclaw.operations.activity import record, recorded
from goclaw.operations.context import Context
from goclaw.operations.gateway import Nothing
from goclaw.operations.operation import Rpc, operation
from goclaw.runtime.faults import RuntimeFault
from goclaw.settings.document import Malformed, parse
from goclaw.settings.load import Loaded, undecided
from goclaw.settings.problems import ConfigInvalid, nearest
from goclaw.settings.settings import Settings
from goclaw.settings.show import json_schema, masked, nested
from goclaw.settings.spoken import placed
from goclaw.settings.writer import ConfigFile, Draft, Stale, as_text

WITHIN = 5.0  # seconds the gateway has for its verdict; config-cli.md §6.2
SHOWN = 20  # mistakes in an answer
LONG = 500  # characters of one

Key = Annotated[str, Meta(max_length=300, description="dotted")]
Hash = Annotated[str, Meta(max_length=128, description="of the file it is made from; another one is a refusal")]


class GetConfig(Struct, kw_only=True):
    """`key`: that part alone."""

    key: Key | None = None


class ApplyConfig(Struct, kw_only=True):
    """`raw` is a whole file in JSON5; without it the parameters are the configuration itself."""

    WHOLE: ClassVar = "config"

    raw: str | None = None
    base_hash: Hash | None = None
    config: dict[str, Any] = {}


class PatchConfig(Struct, kw_only=True):
    """`raw` is an object in JSON5 that is merged, where null takes away; or one `key` gets a `value`."""

    WHOLE: ClassVar = "given"

    raw: str | None = None
    base_hash: Hash | None = None
    key: Key | None = None
    value: Any = None  # null is one, which `given` tells from none
    given: dict[str, Any] = {}


class Config(Struct, rename="camel", kw_only=True):
    """`config` has `***` for secrets. `set_elsewhere`: keys that a variable or a flag sets, and which."""

    config: dict[str, Any]
    hash: str
    path: str
    set_elsewhere: dict[str, str]
    restart_needed: tuple[str, ...]  # keys that wait for the next start
    errors: tuple[str, ...]  # what is wrong with the file now, if it cannot be used


class Part(Struct, kw_only=True):
    key: str
    value: Any


class Applied(Struct, rename="camel", kw_only=True):
    """`changed` are dotted keys; those in `restart_needed` wait for the next start, those in `overridden` have their
    value from a variable that wins over the file."""

    ok: bool = True
    path: str
    config: dict[str, Any]
    hash: str
    restart: bool
    changed: tuple[str, ...] = ()
    applied: tuple[str, ...] = ()
    restart_needed: tuple[str, ...] = ()
    overridden: tuple[str, ...] = ()


@operation(Rpc("config.get", Role.ADMIN))
async def get(ctx: Context, ask: GetConfig) -> Config | Part:
    """Show the configuration as the files have it now, without secrets."""
    file = config_file(ctx)
    try:
        loaded, hash = await trio.to_thread.run_sync(_now, file)
    except OSError as error:
        raise Rejected(_unreadable(error)) from None
    values = masked(loaded.settings if loaded is not None else ctx.house.settings)
    if ask.key is not None:
        return Part(key=ask.key, value=part_of(values, ask.key))
    try:
        last = await ctx.ask(CONFIG, LastReload(), within=WITHIN)
    except RuntimeFault:
        last = Reloaded()
    elsewhere = {
        key: origin
        for key, origin in (loaded.origins.items() if loaded is not None else ())
        if origin.startswith(("env:", ".env.local:", "flag"))
    }
    return Config(
        config=nested(values),
        hash=hash,
        path=str(file.path),
        set_elsewhere=elsewhere,
        restart_needed=last.restart,
        errors=last.errors,
    )


@operation(Rpc("config.apply", Role.ADMIN))
@recorded
async def apply(ctx: Context, ask: ApplyConfig) -> Applied:
    """Put another text in place of the configuration file."""
    file = config_file(ctx)
    whole = {name: value for name, value in ask.config.items() if name not in ("raw", "baseHash", "base_hash")}
    text = ask.raw if ask.raw is not None else as_text(whole)
    return await _changed(ctx, file, "config.applied", lambda: file.replaced(text, ask.base_hash))


@operation(Rpc("config.patch", Role.ADMIN))
@recorded
async def patch(ctx: Context, ask: PatchConfig) -> Applied:
    """Change some keys of the configuration file; what is written about them there stays."""
    file = config_file(ctx)
    if ask.raw is not None:
        raw = ask.raw
        return await _changed(ctx, file, "config.patched", lambda: file.patched(_object(raw), ask.base_hash))
    if ask.key is None or "value" not in ask.given:
        raise Rejected(invalid("raw", "an object of changes, or key and value"))
    wanted = placed(ask.key, ask.given["value"])
    return await _changed(ctx, file, "config.patched", lambda: file.patched(wanted, ask.base_hash))


@operation(Rpc("config.schema", Role.ADMIN))
async def schema(ctx: Context, ask: Nothing) -> dict[str, Any]:
    """Show the JSON Schema of the configuration file."""
    master_only(ctx)
    return {"json": {"$schema": "https://json-schema.org/draft/2020-12/schema", **json_schema()}}


@operation(Rpc("config.defaults", Role.ADMIN))
async def defaults(ctx: Context, ask: Nothing) -> dict[str, Any]:
    """Show what every key is when nobody sets it."""
    master_only(ctx)
    return {"config": nested(masked(Settings()))}


@operation(Rpc("config.reload", Role.ADMIN))
async def reload(ctx: Context, ask: Nothing) -> Reloaded:
    """Read the configuration again: what holds now, what waits for a start, what is wrong with it."""
    master_only(ctx)
    return await ctx.ask(CONFIG, Reload(), within=WITHIN)


# --- parts ----------------------------------------------------------------------------------------


def master_only(ctx: Context) -> None:
    """The configuration is that of all tenants (edge-auth.md §5, M)."""
    if not ctx.caller.is_admin or ctx.caller.tenant_id != MASTER_TENANT:
        raise Rejected(forbidden("role"))


def config_file(ctx: Context) -> ConfigFile:
    master_only(ctx)
    if ctx.house.config is None:
        raise Rejected(unavailable("no_config_file"))
    return ctx.house.config


def _now(file: ConfigFile) -> tuple[Loaded | None, str]:
    """What the files come to, None if that is nothing, and the hash of what was read."""
    hash = file.hash
    try:
        return undecided(file.now()), hash
    except ConfigInvalid:
        return None, hash


def part_of(values: dict[str, Any], key: str) -> Any:
    """The value or the section a dotted key names. Refuses one there is not."""
    found: Any = nested(values)
    for step in key.strip().split("."):
        step = "enabled" if step == "enable" else step
        if not isinstance(found, dict) or step not in found:
            suggestion = nearest(key, values)
            raise Rejected(invalid("key", "there is no such key", **({"suggestion": suggestion} if suggestion else {})))
        found = found[step]
    return found


async def drafted(ctx: Context, make: Callable[[], Draft]) -> Draft:
    """A change that passed every check; nothing is written."""
    try:
        return await trio.to_thread.run_sync(make)
    except ConfigInvalid as wrong:
        raise Rejected(refusal(ctx, wrong)) from None
    except Stale:
        raise Rejected(_stale(config_file(ctx))) from None
    except OSError as error:
        raise Rejected(_unreadable(error)) from None


async def _changed(ctx: Context, file: ConfigFile, action: str, make: Callable[[], Draft]) -> Applied:
    """Checked, written down in the audit, written, and taken over by the gateway; or as it was."""
    async with ctx.house.changing_config:
        draft = await drafted(ctx, make)
        done = Reloaded()
        if not draft.idle:
            await record(ctx, action, "config", str(file.path), changed=draft.changed)
            try:
                await trio.to_thread.run_sync(file.write, draft)
            except Stale:
                raise Rejected(_stale(file)) from None
            except OSError as error:
                raise Rejected(_unwritable(error)) from None
            done = await _taken_over(ctx, file, draft)
        loaded, hash = await trio.to_thread.run_sync(_now, file)
    late = tuple(key for key in draft.changed if key in done.restart)
    return Applied(
        path=str(file.path),
        config=nested(masked((loaded or undecided(draft.loaded)).settings)),
        hash=hash,
        restart=bool(late),
        changed=draft.changed,
        applied=tuple(key for key in draft.changed if key not in late),
        restart_needed=late,
        overridden=draft.overridden,
    )


async def _taken_over(ctx: Context, file: ConfigFile, draft: Draft) -> Reloaded:
    """What the gateway says to it; where it says no, or nothing, the old file is put back."""
    try:
        done = await ctx.ask(CONFIG, Reload(), within=WITHIN)
        errors = done.errors
    except RuntimeFault:
        errors = ("the gateway did not answer",)
    if not errors:
        return done
    try:
        await trio.to_thread.run_sync(file.undo, draft)
    except (OSError, Stale):
        errors = (*errors, "the former file could not be put back; it is beside it as .bak")
    else:
        ctx.system.tell(CONFIG, Reload())
    news = ConfigEvent(type="config.rollback", body=body(errors=errors))
    ctx.system.publish(of_admins(MASTER_TENANT), news)
    raise Rejected(failed_precondition("config_rejected", errors=_shown(ctx, errors)))


def _object(raw: str) -> dict[str, Any]:
    """An object of changes in JSON5. Refuses anything else."""
    try:
        document = parse(raw)
    except Malformed as error:
        raise Rejected(invalid("raw", f"not JSON5 at line {error.line}: {error}"[:LONG], line=error.line)) from None
    if document.repeated:
        place, _, line = document.repeated[0]
        raise Rejected(invalid("raw", f"a key is there twice, again at line {line}", path=_dotted(place), line=line))
    if not isinstance(document.value, dict):
        raise Rejected(invalid("raw", "expected an object"))
    return document.value


def _dotted(place: tuple[str | int, ...]) -> str:
    return ".".join(map(str, place))[:LONG]


def refusal(ctx: Context, wrong: ConfigInvalid) -> Err:
    """All mistakes at once, without secrets of this gateway in them."""
    problems = wrong.problems[:SHOWN]
    paths, messages = _shown(ctx, [one.key for one in problems]), _shown(ctx, map(str, problems))
    errors = [
        {"path": path, "message": message, "line": one.line}
        for path, message, one in zip(paths, messages, problems, strict=True)
    ]
    return invalid(paths[0] or "raw", messages[0], path=paths[0], line=wrong.problems[0].line, errors=errors)


def _shown(ctx: Context, texts: Iterable[str]) -> list[str]:
    hide = ctx.house.known.forms.hide
    return [hide(text, lambda _: "***").encode(errors="replace").decode()[:LONG] for text in texts]


def _stale(file: ConfigFile) -> Err:
    try:
        return failed_precondition("config_changed", hash=file.hash)
    except OSError:
        return failed_precondition("config_changed")


def _unreadable(error: OSError) -> Err:
    return failed_precondition("config_unreadable", why=error.strerror or type(error).__name__)


def _unwritable(error: OSError) -> Err:
    return failed_precondition("config_not_writable", why=error.strerror or type(error).__name__)
