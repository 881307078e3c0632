"""The policy while it runs, as messages. Contract: security.md §9.2."""

from __future__ import annotations

import msgspec

from goclaw.runtime.message import Message


class PolicyState(Message[None]):
    """`version` is in force, None: none is. With `errors` the file is another one, which cannot be used."""

    path: str
    version: str | None = None
    changed: bool = False  # by what was asked
    errors: tuple[str, ...] = ()


class ReloadPolicy(Message[PolicyState]):
    """Read the file now."""


class PolicyEvent(Message[None]):
    """`policy.reloaded` {old, new, diff} or `policy.rejected` {errors}. For admins of the master tenant."""

    type: str
    body: msgspec.Raw
