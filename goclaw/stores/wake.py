"""The bell between nodes: NOTIFY on one channel, never inside somebody's transaction. Contract: durability.md §10."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct

from goclaw.domain.cluster import WakeKind
from goclaw.stores.unit import Connection, transaction

CHANNEL = "goclaw_wake"
LONGEST = 7500  # bytes of a payload; W2


class Wake(Struct, frozen=True, omit_defaults=True):
    """What one notification says: from which node, what kind of thing changed, where."""

    n: str
    k: WakeKind
    s: tuple[int, ...] = ()
    t: tuple[str, ...] = ()


@transaction(single=True)
async def ring(db: Connection, payload: str) -> None:
    await db.execute("SELECT pg_notify(%(channel)s, %(payload)s)", {"channel": CHANNEL, "payload": payload})


def payloads(node: str, kind: WakeKind, shards: Iterable[int], topics: Iterable[str]) -> Iterator[str]:
    """As many notifications as it takes. A topic that is too long for one is left out: everybody polls."""
    where = tuple(sorted(shards))
    page: list[str] = []
    room = full = LONGEST - len(_text(Wake(node, kind, where, ("",))))
    for topic in topics:
        size = len(msgspec.json.encode(topic)) + 1
        if size > full:
            continue
        if size > room:
            yield _text(Wake(node, kind, where, tuple(page))).decode()
            page, room = [], full
        page.append(topic)
        room -= size
    yield _text(Wake(node, kind, where, tuple(page))).decode()


def heard(payload: str) -> Wake | None:
    """None for what no gateway of ours says."""
    try:
        return msgspec.json.decode(payload, type=Wake)
    except msgspec.MsgspecError:
        return None


def _text(wake: Wake) -> bytes:
    return msgspec.json.encode(wake)
