"""What embeddings are asked with and how answers are read, whatever they hold. Contract: providers.md §12."""

from __future__ import annotations

import math
from array import array

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goclaw.providers.embeddings.vector import DIMENSIONS, padded
from goclaw.providers.embeddings.wires import OLLAMA, OPENAI, EmbeddingWire
from goclaw.providers.reader import BROKEN

vectors = st.lists(st.lists(st.floats(-1, 1, width=32), max_size=4), max_size=6)
json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["data", "embedding", "embeddings", "index"]), inner, max_size=3)
    ),
    max_leaves=20,
)


@given(vectors, st.randoms(use_true_random=False))
def test_rows_may_come_in_any_order(found: list[list[float]], random: object) -> None:
    rows = [{"index": n, "embedding": vector} for n, vector in enumerate(found)]
    random.shuffle(rows)  # type: ignore[attr-defined]

    assert OPENAI.read(msgspec.json.encode({"data": rows})) == found


@given(vectors)
def test_rows_without_an_index_are_in_order(found: list[list[float]]) -> None:
    assert OPENAI.read(msgspec.json.encode({"data": [{"embedding": vector} for vector in found]})) == found
    assert OLLAMA.read(msgspec.json.encode({"embeddings": found})) == found


@pytest.mark.parametrize("wire", [OPENAI, OLLAMA], ids=["openai", "ollama"])
@given(body=st.binary(max_size=60) | json.map(msgspec.json.encode))
def test_garbage_is_vectors_or_is_refused(wire: EmbeddingWire, body: bytes) -> None:
    try:
        found = wire.read(body)
    except (*BROKEN, ValueError):
        return
    assert all(isinstance(number, float) for vector in found for number in vector)


def test_fewer_dimensions_are_asked_for_only_when_they_must_be() -> None:
    for wire in (OPENAI, OLLAMA):
        whole, fewer = (msgspec.json.decode(wire.write("m", ["a", "b"], dims)) for dims in (None, 1536))

        assert whole == {"model": "m", "input": ["a", "b"]}
        assert fewer == {**whole, "dimensions": 1536}


@given(st.lists(st.floats(-1, 1, width=32), max_size=DIMENSIONS))
def test_padding_keeps_the_numbers_and_the_angle(numbers: list[float]) -> None:
    vector = padded(numbers)

    assert len(vector) == DIMENSIONS
    assert vector[: len(numbers)] == array("f", numbers)
    assert not any(vector[len(numbers) :])


@pytest.mark.parametrize("numbers", [[math.inf, -math.inf], [math.nan], [1e300], [0.0] * (DIMENSIONS + 1)])
def test_what_is_no_vector_of_ours_is_refused(numbers: list[float]) -> None:
    with pytest.raises(ValueError):
        padded(numbers)
