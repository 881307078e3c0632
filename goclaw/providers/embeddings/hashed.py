"""Vectors without a model: hashed words and pieces of words. Contract: providers.md §16.7.

Opens no socket and needs no file. The same text has the same vector everywhere and always; a change of anything
here is another model and needs another name, or stored vectors are compared with what they are not.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import chain, pairwise

import trio

from goclaw.providers.embeddings.vector import Vector, padded
from goclaw.settings.providers import OFFLINE

BUCKETS = 1024
MODEL = f"offline-hash-{BUCKETS}"
AT_ONCE = 1000  # words counted between two looks at the other tasks, some 5 ms

IDEOGRAMS = "\u1100-\u11ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
WORD = re.compile(rf"[{IDEOGRAMS}]{{1,64}}|[^\W{IDEOGRAMS}]{{1,64}}")  # bounded, so that a word is never much work
IDEOGRAM = re.compile(f"[{IDEOGRAMS}]")


class Hashed:
    provider = OFFLINE
    model = MODEL
    dims = BUCKETS
    lexical = True

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        return [await self._one(text) for text in texts]

    async def aclose(self) -> None:
        pass

    async def _one(self, text: str) -> Vector:
        words = WORD.findall(unicodedata.normalize("NFC", text).lower())
        seen: Counter[int] = Counter()
        for at in range(0, len(words), AT_ONCE):
            seen.update(chain.from_iterable(map(_hashes, words[at : at + AT_ONCE])))
            await trio.lowlevel.checkpoint()
        return _vector(seen)


def features_of(word: str) -> Iterator[str]:
    """The word and its pieces of three and four letters; of ideograms, which know no spaces, each and each pair."""
    if IDEOGRAM.match(word):
        yield from word
        yield from map("".join, pairwise(word))
        return
    yield f"={word}"
    for length in (3, 4):
        yield from (word[at : at + length] for at in range(len(word) - length + 1))


@lru_cache(maxsize=16_384)
def _hashes(word: str) -> tuple[int, ...]:
    return tuple(
        int.from_bytes(blake2b(feature.encode("utf-8", "replace"), digest_size=4).digest(), "big")
        for feature in features_of(word)
    )


def _vector(seen: Counter[int]) -> Vector:
    buckets = [0.0] * BUCKETS
    for feature, times in seen.items():
        weight = 1 + math.log(times)
        buckets[feature % BUCKETS] += weight if feature & 0x8000_0000 else -weight
    length = math.hypot(*buckets)
    return padded([value / length for value in buckets] if length else buckets)
