"""Vectors that were paid for. Table `embedding_cache` (migration 0023); who may be forgotten: `retention.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from goclaw.stores.unit import Connection, many, transaction

KNOWN = """
WITH found AS (
  SELECT hash, embedding, last_used_at FROM embedding_cache
  WHERE provider = %(provider)s AND model = %(model)s AND hash = ANY(%(hashes)s::text[])
), used AS (
  UPDATE embedding_cache c SET last_used_at = now() FROM found f
  WHERE c.provider = %(provider)s AND c.model = %(model)s AND c.hash = f.hash
    AND f.last_used_at < now() - interval '1 day'
)
SELECT hash, embedding FROM found ORDER BY hash LIMIT %(most)s
"""

KEEP = """
INSERT INTO embedding_cache (hash, provider, model, embedding, dims)
SELECT hash, %(provider)s, %(model)s, vector::real[], %(dims)s
FROM unnest(%(hashes)s::text[], %(vectors)s::text[]) AS said(hash, vector)
ORDER BY hash
ON CONFLICT (hash, provider, model) DO NOTHING
"""


class KnownVector(Struct, frozen=True):
    hash: str
    embedding: list[float]


@transaction(retry_safe=True, single=True)
async def known(db: Connection, provider: str, model: str, hashes: Sequence[str]) -> list[KnownVector]:
    """Those of `hashes` that are stored, and that they were needed today."""
    asked = {"provider": provider, "model": model, "hashes": list(hashes), "most": len(hashes)}
    return await many(KnownVector, db.execute(KNOWN, asked))


@transaction(retry_safe=True, single=True)
async def keep(db: Connection, provider: str, model: str, dims: int, vectors: Mapping[str, Sequence[float]]) -> None:
    """Store the first `dims` numbers of vectors, by hash; one that is already there stays."""
    texts = ["{" + msgspec.json.encode(list(vector[:dims])).decode()[1:-1] + "}" for vector in vectors.values()]
    asked = {"provider": provider, "model": model, "dims": dims, "hashes": list(vectors), "vectors": texts}
    await db.execute(KEEP, asked)
