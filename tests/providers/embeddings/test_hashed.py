"""Vectors without a model. Contract: providers.md §16.7."""

from __future__ import annotations

import math
from hashlib import sha256

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from goclaw.providers.embeddings.hashed import BUCKETS, MODEL, WORD, Hashed, features_of
from goclaw.providers.embeddings.vector import DIMENSIONS, Vector

TEXTS = (
    "To restart the gateway, send SIGTERM and start the service again.",
    "Backups are written to the data directory every night.",
    "An agent answers a turn with a run.",
    "网关重启之后会继续运行任务。",
    "Khởi động lại cổng sau khi cập nhật.",
)


def embedded(*texts: str) -> list[Vector]:
    return trio.run(Hashed().embed, texts)


def cosine(one: Vector, other: Vector) -> float:
    return math.fsum(a * b for a, b in zip(one, other, strict=True))


def test_the_name_of_the_model_stands_for_exactly_these_numbers() -> None:
    """Stored vectors are compared with new ones: whoever changes the numbers must change the name."""
    found = embedded(*TEXTS)

    assert MODEL == "offline-hash-1024"
    assert sha256(b"".join(vector.tobytes() for vector in found)).hexdigest()[:16] == "75e62e2249a2a911"


@given(st.text(max_size=300))
def test_every_text_has_one_vector_of_length_one_or_none_at_all(text: str) -> None:
    one, again = embedded(text, text)

    assert one == again
    assert len(one) == DIMENSIONS
    assert not any(one[BUCKETS:])
    assert math.isclose(cosine(one, one), 1.0, rel_tol=1e-5) == any(one)
    assert any(one) == bool(WORD.search(text))


@pytest.mark.parametrize(
    ("query", "nearest"),
    [
        ("how do I restart the gateway?", 0),
        ("nightly backup directory", 1),
        ("which run answers a turn", 2),
        ("重启网关", 3),
        ("khởi động lại", 4),
        ("RESTARTING GATEWAYS", 0),
    ],
)
def test_what_shares_words_lies_closest(query: str, nearest: int) -> None:
    asked, *known = embedded(query, *TEXTS)

    near = [cosine(asked, vector) for vector in known]

    assert near.index(max(near)) == nearest


def test_words_their_pieces_and_pairs_of_ideograms() -> None:
    assert list(features_of("goats")) == ["=goats", "goa", "oat", "ats", "goat", "oats"]
    assert list(features_of("v2")) == ["=v2"]
    assert list(features_of("网关重")) == ["网", "关", "重", "网关", "关重"]
    assert WORD.findall("v2网关 -- goats") == ["v2", "网关", "goats"]


def test_the_same_letters_spelt_differently_are_the_same() -> None:
    composed, decomposed = embedded("caf\u00e9", "cafe\u0301")

    assert composed == decomposed


async def test_a_long_text_lets_others_work_meanwhile() -> None:
    looks = 0

    async def look() -> None:
        nonlocal looks
        while True:
            await trio.lowlevel.checkpoint()
            looks += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await Hashed().embed([" ".join(map(str, range(20_000)))])
        nursery.cancel_scope.cancel()

    assert looks >= 10
