"""The two languages embeddings are asked for in: OpenAI's, which most vendors speak, and Ollama's own. All pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Struct

Vectors = list[list[float]]


@dataclass(frozen=True)
class EmbeddingWire:
    path: str
    write: Callable[[str, Sequence[str], int | None], bytes]  # model, texts, dimensions if they must be fewer
    read: Callable[[bytes], Vectors]  # raises msgspec.DecodeError or ValueError; checks neither number nor size


def _body(model: str, texts: Sequence[str], dimensions: int | None) -> bytes:
    body: dict[str, Any] = {"model": model, "input": list(texts)}
    return msgspec.json.encode(body if dimensions is None else {**body, "dimensions": dimensions})


class _Row(Struct):
    embedding: list[float]
    index: int | None = None


class _Rows(Struct):
    data: list[_Row]


def _openai(answer: bytes) -> Vectors:
    """By index, since the order is not promised; as they come if there are no indices."""
    rows = msgspec.json.decode(answer, type=_Rows).data
    places = [row.index for row in rows]
    if any(places):
        by_place = {row.index: row.embedding for row in rows}
        if by_place.keys() != set(range(len(rows))):
            raise ValueError("its indices are not those of the texts")
        return [by_place[place] for place in range(len(rows))]
    return [row.embedding for row in rows]


class _Embeddings(Struct):
    embeddings: Vectors


def _ollama(answer: bytes) -> Vectors:
    return msgspec.json.decode(answer, type=_Embeddings).embeddings


OPENAI = EmbeddingWire("/embeddings", _body, _openai)
OLLAMA = EmbeddingWire("/api/embed", _body, _ollama)
