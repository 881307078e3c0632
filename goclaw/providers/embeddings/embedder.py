"""Who makes vectors of texts, whatever is behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from goclaw.providers.embeddings.vector import Vector

TEXTS = 100  # in one question; providers.md §12
CHARS = 100_000  # in one question; skills-memory-kg.md §2.2


class Embedder(Protocol):
    """Raises ProviderError and nothing else. Vectors of different providers or models are never compared."""

    provider: str
    model: str
    lexical: bool  # knows words, not what they mean; results of a search say so

    @property
    def dims(self) -> int:
        """Of the model, before the padding; 0 until a vendor has answered."""

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """A vector for each text, in their order. A text without a word has the zero vector, which is near nothing."""

    async def aclose(self) -> None: ...


def batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """`texts` in their order, in pieces that fit into one question. A text that is too long is a piece of its own."""
    batch: list[str] = []
    room = CHARS
    for text in texts:
        if batch and (len(batch) == TEXTS or len(text) > room):
            yield batch
            batch, room = [], CHARS
        batch.append(text)
        room -= len(text)
    if batch:
        yield batch
