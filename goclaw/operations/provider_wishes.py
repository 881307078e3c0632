"""What operators want of a provider, as the row it becomes. Keys are sealed. Contract: edge-http.md §7."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import UNSET

from goclaw.domain.errors import (
    Rejected,
    invalid,
    required,
)
from goclaw.operations.context import Context
from goclaw.operations.params import explain
from goclaw.operations.provider_shapes import (
    MASK,
    CreateProvider,
    Wanted,
)
from goclaw.providers.rows import SETTINGS as PROGRAM_SETTINGS
from goclaw.providers.rows import TYPES, VENDORS, RowSettings, guard_of, like
from goclaw.security.box import Place
from goclaw.security.ssrf import Refused
from goclaw.settings.providers import OFFLINE, PROGRAMS
from goclaw.stores.providers import KEY_COLUMN, ProviderRow

SETTINGS = 65_536  # bytes
SECRET = re.compile(  # of a member; data-model.md §3
    r"(?:^|[_-])(?:(?:api|access|auth|subscription)[_-]?keys?|authorization|cookie|token|secret|password)$",
    re.IGNORECASE,
)


def blank(ctx: Context, ask: CreateProvider, id: str) -> ProviderRow:
    """A new provider of this type, before anything is said of it."""
    if ask.name == OFFLINE:
        raise Rejected(invalid("name", "is built in"))
    if ask.provider_type not in TYPES:
        raise Rejected(invalid("provider_type", "must be one of " + ", ".join(sorted(TYPES))))
    now = ctx.now()
    return ProviderRow(
        id=id,
        tenant_id=ctx.caller.tenant_id,
        name=ask.name,
        display_name=None,
        provider_type=ask.provider_type,
        api_base=None,
        api_key=None,
        enabled=True,
        settings={},
        created_at=now,
        updated_at=now,
    )


async def checked(ctx: Context, ask: Wanted, before: ProviderRow) -> ProviderRow:
    """`before` with what is asked for. Refuses what cannot be."""
    given = {
        name: value
        for name in ("name", "display_name", "api_base", "enabled")
        if (value := getattr(ask, name)) is not UNSET
    }
    if given.get("name") == OFFLINE:
        raise Rejected(invalid("name", "is built in"))
    if "api_base" in given:
        given["api_base"] = given["api_base"].strip().rstrip("/") or None
    row, program = msgspec.structs.replace(before, **given), before.provider_type in PROGRAMS
    row = msgspec.structs.replace(row, settings=_settings(ask, before), api_key=_sealed(ctx, ask, before))
    if row.api_base is not None and not program and (row.api_base != before.api_base or ask.api_base is not UNSET):
        await _check_base(ctx, row)
    if (
        row.api_base is None
        and row.provider_type != "claude_cli"
        and not VENDORS.get(like(row.name, row.provider_type), VENDORS[OFFLINE]).base_url
    ):
        raise Rejected(required("api_base"))
    return row


async def _check_base(ctx: Context, row: ProviderRow) -> None:
    """A name that has no address now may have one later; where it leads is asked again with every connection."""
    assert row.api_base is not None
    guard = guard_of(row, ctx.house.settings.providers.allow_private)
    try:
        await guard.addresses(guard.check(row.api_base).host)
    except Refused as refused:
        if refused.rule == "scheme":
            raise Rejected(invalid("api_base", "must be http or https")) from None
        if refused.rule != "resolve":
            hint = "; providers.allow_private lets private addresses pass" if not guard.allow_private else ""
            said = f"{refused}{hint}"
            raise Rejected(invalid("api_base", said)) from None


def _settings(ask: Wanted, before: ProviderRow) -> dict[str, Any]:
    if ask.settings is UNSET:
        return before.settings
    wanted = dict(ask.settings)
    kept = before.settings.get("headers") or {}
    if isinstance(headers := wanted.get("headers"), dict):
        wanted["headers"] = {
            name: kept[name] if value == MASK and name in kept else value for name, value in headers.items()
        }
    if secret := next((name for name in _names(wanted) if SECRET.search(name)), ""):
        raise Rejected(invalid(f"settings.{secret}"[:100], "secrets belong in api_key, where they are sealed"))
    if len(msgspec.json.encode(wanted)) > SETTINGS:
        raise Rejected(invalid("settings", f"more than {SETTINGS} bytes"))
    try:
        msgspec.convert(wanted, RowSettings)
        msgspec.convert(wanted, PROGRAM_SETTINGS.get(before.provider_type, RowSettings))
    except msgspec.ValidationError as error:
        raise Rejected(explain(str(error), "settings")) from None
    return wanted


def _names(value: Any) -> Iterator[str]:
    """Of all members, however deep."""
    for name, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        if isinstance(name, str):
            yield name
        yield from _names(inner)


def _sealed(ctx: Context, ask: Wanted, before: ProviderRow) -> str | None:
    """The keys as they are stored: several with commas between; `***` keeps what is there."""
    if ask.api_keys is not UNSET:
        keys = ask.api_keys
    elif ask.api_key is not UNSET:
        keys = ask.api_key.split(",")
    else:
        return before.api_key
    keys = [key.strip() for key in keys if key.strip()]
    if keys == [MASK]:
        return before.api_key
    if any(not key.isascii() or not key.isprintable() or MASK in key for key in keys):
        raise Rejected(invalid("api_key", "has characters that no key has"))
    return ctx.house.box.seal(",".join(keys), Place(KEY_COLUMN, before.id)) if keys else None
