"""Where each shard should be: the same answer on every node, and few moves when nodes come and go.

Contract: durability.md §12.3.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

from msgspec import Struct

from goclaw.domain.cluster import SHARDS


class Place(Struct, frozen=True):
    node_id: str
    capacity: int  # a node with twice as much gets twice as many


def desired(places: Sequence[Place], wishes: Mapping[int, str]) -> dict[int, str]:
    """Shard → node. A wish of an operator counts while its node is among `places`; nobody gets anything of none."""
    if not places:
        return {}
    ids = {place.node_id for place in places}
    return _best(tuple(places)) | {shard: node for shard, node in wishes.items() if node in ids}


@lru_cache(maxsize=4)
def _best(places: tuple[Place, ...]) -> dict[int, str]:
    return {shard: max(places, key=lambda place: _score(shard, place)).node_id for shard in range(SHARDS)}


def _score(shard: int, place: Place) -> tuple[float, str]:
    """Weighted rendezvous: the highest wins, in proportion to capacity."""
    digest = hashlib.sha256(f"{shard} {place.node_id}".encode()).digest()
    share = (int.from_bytes(digest[:8]) + 1) / (2**64 + 1)
    return -max(1, place.capacity) / math.log(share), place.node_id
