"""Remembers what vendors said: the same text is paid once. Contract: providers.md §12, data-model.md §18."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256

import structlog

from goclaw.domain.errors import StoreError
from goclaw.providers.embeddings.embedder import Embedder, batches
from goclaw.providers.embeddings.vector import Vector, padded
from goclaw.stores import embeddings
from goclaw.stores.database import Database

_log = structlog.get_logger("goclaw.providers.embeddings")


class Cached:
    """`inner`, asked only for what it has not said yet. What it has said is kept batch by batch.

    A database that is away costs money, not the answer.
    """

    def __init__(self, inner: Embedder, database: Database) -> None:
        self.provider = inner.provider
        self.model = inner.model
        self.lexical = inner.lexical
        self._inner = inner
        self._database = database

    @property
    def dims(self) -> int:
        return self._inner.dims

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        hashes = {text: sha256((self.model + text).encode("utf-8", "replace")).hexdigest() for text in texts}
        vectors: dict[str, Vector] = {}
        for batch in batches(list(hashes)):
            known = await self._known({hashes[text]: text for text in batch})
            missing = [text for text in batch if text not in known]
            made = dict(zip(missing, await self._inner.embed(missing), strict=True)) if missing else {}
            await self._keep({hashes[text]: vector for text, vector in made.items() if any(vector)})
            vectors |= known | made
        return [vectors[text] for text in texts]

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def _known(self, texts: Mapping[str, str]) -> dict[str, Vector]:
        try:
            rows = await self._database.run(embeddings.known, self.provider, self.model, list(texts))
        except StoreError as error:
            _log.warning("embeddings.cache_unread", kind=error.kind)
            return {}
        return {texts[row.hash]: padded(row.embedding) for row in rows}

    async def _keep(self, vectors: Mapping[str, Vector]) -> None:
        if not vectors:
            return
        try:
            await self._database.run(embeddings.keep, self.provider, self.model, self.dims, vectors)
        except StoreError as error:
            _log.warning("embeddings.not_kept", kind=error.kind)
