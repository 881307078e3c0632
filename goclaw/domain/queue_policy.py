"""How the turns of one session wait: what the request, the session, its agent and its channel say, else everybody's.

Contract: sessions-lanes-cron.md §3.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Protocol

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import fields

QueueMode = Literal["queue", "followup", "interrupt"]
Drop = Literal["old", "new"]
Cap = Annotated[int, Meta(ge=1, le=1000)]
Debounce = Annotated[int, Meta(ge=-1, le=10_000)]  # milliseconds; 0 or -1 = off
Slots = Annotated[int, Meta(ge=1, le=100)]


class Says(Protocol):
    """Somebody's wish for each; None says nothing."""

    @property
    def mode(self) -> QueueMode | None: ...
    @property
    def cap(self) -> int | None: ...
    @property
    def drop(self) -> Drop | None: ...
    @property
    def debounce_ms(self) -> int | None: ...
    @property
    def max_concurrent_dm(self) -> int | None: ...
    @property
    def max_concurrent_group(self) -> int | None: ...


class Override(Struct, frozen=True, kw_only=True, omit_defaults=True):
    mode: QueueMode | None = None
    cap: Cap | None = None
    drop: Drop | None = None
    debounce_ms: Debounce | None = None
    max_concurrent_dm: Slots | None = None
    max_concurrent_group: Slots | None = None


class Policy(Struct, frozen=True, kw_only=True):
    mode: QueueMode
    cap: int  # waiting turns
    drop: Drop  # who gives way at the cap
    debounce_ms: int  # of texts that come through a channel
    max_concurrent_dm: int
    max_concurrent_group: int

    def slots(self, group: bool) -> int:
        """Runs at once."""
        return self.max_concurrent_group if group else self.max_concurrent_dm


NOTHING = Override()


def resolved(*says: Says) -> Policy:
    """What counts: for each the first that says something, the strongest first. The last must say everything."""
    wanted = {
        name: next(value for one in says if (value := getattr(one, name)) is not None)
        for name in Policy.__struct_fields__
    }
    policy: Policy = msgspec.convert(wanted, Policy)
    return policy


def override_of(other_config: Mapping[str, Any]) -> Override:
    """What an agent says: members of its `queue`, and `inbound_debounce_ms`. What does not fit says nothing."""
    given = other_config.get("queue")
    said = dict(given) if isinstance(given, Mapping) else {}
    said.setdefault("debounce_ms", other_config.get("inbound_debounce_ms"))
    fitting: dict[str, Any] = {}
    for field in fields(Override):
        try:
            fitting[field.name] = msgspec.convert(said.get(field.name), field.type)
        except msgspec.ValidationError:
            continue
    return Override(**fitting)
