"""The configuration of a running gateway, as messages. Contract: config-cli.md §6.1."""

from __future__ import annotations

import msgspec

from goclaw.runtime.message import Message


class Reloaded(Message[None]):
    """Dotted keys, never values. With `errors` nothing has changed."""

    applied: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()  # differ from what runs, and count with the next start
    errors: tuple[str, ...] = ()


class Reload(Message[Reloaded]):
    """Read the file, `.env.local` and the variables again, and apply what can be applied now."""


class LastReload(Message[Reloaded]):
    """What came of the last time."""


class ConfigEvent(Message[None]):
    """`config.reloaded` {applied, restart}, `.restart_needed` {keys}, `.rejected` {errors}, `.rollback` {errors}.

    For admins of the master tenant.
    """

    type: str
    body: msgspec.Raw
