"""Vendors of embeddings on real sockets. Contract: providers.md §8, §12."""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from goclaw.domain.errors import ProviderError
from goclaw.providers.catalogue import Vendor
from goclaw.providers.embeddings.embedder import CHARS, TEXTS, batches
from goclaw.providers.embeddings.remote import Remote
from goclaw.providers.embeddings.vector import DIMENSIONS, padded
from goclaw.providers.embeddings.wires import OLLAMA, OPENAI, EmbeddingWire
from tests.fakes.embedder import FakeEmbedder, fake_embedder, vector_of

KEY = "sk-very-secret-key"


@pytest.fixture
async def vendor() -> AsyncIterator[FakeEmbedder]:
    async with fake_embedder() as vendor:
        yield vendor


@pytest.fixture
def virtual_time() -> MockClock:
    """A clock that jumps when nothing has happened for a while, so that waiting costs no time but sockets may talk."""
    return MockClock(autojump_threshold=0.01)


async def embedded(vendor: FakeEmbedder, model: str, *texts: str, key: str = KEY) -> list[array[float]]:
    remote = Remote(Vendor("acme", vendor.url), OPENAI, model=model, keys=(key,))
    try:
        return await remote.embed(texts)
    finally:
        await remote.aclose()


async def failure(vendor: FakeEmbedder, model: str, key: str = KEY) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await embedded(vendor, model, "one", "two", key=key)
    assert "very-secret" not in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.message.startswith("acme: ")
    return caught.value


@pytest.mark.parametrize("wire", [OPENAI, OLLAMA], ids=["openai", "ollama"])
async def test_a_vector_for_each_text_padded_with_zeros(vendor: FakeEmbedder, wire: EmbeddingWire) -> None:
    url = vendor.url if wire is OPENAI else vendor.url.removesuffix("/v1")
    remote = Remote(Vendor("acme", url), wire, model="words-8", keys=(KEY,))

    found = await remote.embed(["one", "two", "one"])
    await remote.aclose()

    assert found == [padded(vector_of(text, 8)) for text in ("one", "two", "one")]
    assert {len(vector) for vector in found} == {DIMENSIONS}
    assert remote.dims == 8
    (asked,) = vendor.asked
    assert (asked.model, asked.input, asked.dimensions) == ("words-8", ["one", "two", "one"], None)
    assert vendor.requests[0][0] == ("/v1/embeddings" if wire is OPENAI else "/api/embed")
    assert vendor.requests[0][1]["authorization"] == f"Bearer {KEY}"


async def test_rows_are_put_in_the_order_of_the_texts(vendor: FakeEmbedder) -> None:
    assert await embedded(vendor, "shuffled", "a", "b", "c") == [padded(vector_of(text, 8)) for text in "abc"]


async def test_a_text_without_a_word_is_not_asked_for(vendor: FakeEmbedder) -> None:
    found = await embedded(vendor, "words-8", "", "word", " \n")

    assert found == [padded(()), padded(vector_of("word", 8)), padded(())]
    assert vendor.texts == ["word"]
    assert await embedded(vendor, "words-8", "", " ") == [padded(()), padded(())]
    assert len(vendor.asked) == 1


async def test_many_texts_are_asked_for_a_hundred_at_a_time(vendor: FakeEmbedder) -> None:
    texts = [f"text {n}" for n in range(250)]

    found = await embedded(vendor, "words-8", *texts)

    assert [len(ask.input) for ask in vendor.asked] == [100, 100, 50]
    assert found == [padded(vector_of(text, 8)) for text in texts]


async def test_a_text_nobody_takes_is_refused_before_anything_is_paid(vendor: FakeEmbedder) -> None:
    with pytest.raises(ProviderError, match="100000 are the most") as caught:
        await embedded(vendor, "words-8", "fine", "x" * (CHARS + 1))

    assert caught.value.kind == "context_overflow"
    assert not vendor.asked


@given(st.lists(st.integers(0, CHARS).map("x".__mul__), max_size=8) | st.lists(st.just("x"), max_size=250))
def test_batches_are_the_texts_in_order_and_none_is_too_large(texts: list[str]) -> None:
    made = list(batches(texts))

    assert [text for batch in made for text in batch] == texts
    assert all(batch and len(batch) <= TEXTS and sum(map(len, batch)) <= CHARS for batch in made)


# dimensions


async def test_a_model_with_too_many_dimensions_is_asked_for_fewer_once_and_for_all(vendor: FakeEmbedder) -> None:
    remote = Remote(Vendor("acme", vendor.url), OPENAI, model="large-3072", keys=(KEY,))
    first, second = await remote.embed(["one"]), await remote.embed(["two"])
    await remote.aclose()

    assert [first, second] == [[padded(vector_of(text, DIMENSIONS))] for text in ("one", "two")]
    assert [ask.dimensions for ask in vendor.asked] == [None, DIMENSIONS, DIMENSIONS]


async def test_a_model_that_is_known_to_be_large_is_not_asked_in_vain(vendor: FakeEmbedder) -> None:
    await embedded(vendor, "google/gemini-embedding-8", "one")

    assert [ask.dimensions for ask in vendor.asked] == [DIMENSIONS]


@pytest.mark.parametrize("model", ["rigid-3072", "deaf-3072"])
async def test_a_model_that_cannot_be_shortened_is_refused_with_advice(vendor: FakeEmbedder, model: str) -> None:
    error = await failure(vendor, model)

    assert error.kind == "format"
    assert f"{model} answers with 3072 dimensions, the database holds 1536: choose a model" in error.message
    assert len(vendor.asked) == 2


async def test_a_model_does_not_change_its_size_under_our_hands(vendor: FakeEmbedder) -> None:
    remote = Remote(Vendor("acme", vendor.url), OPENAI, model="words-8")
    await remote.embed(["one"])
    remote.model = "words-9"

    with pytest.raises(ProviderError, match="9 dimensions and had 8 before"):
        await remote.embed(["one"])
    await remote.aclose()


# trouble


@pytest.mark.parametrize(
    ("model", "kind", "said"),
    [
        ("fault-400", "format", "API error (400)"),
        ("fault-402", "billing", "API error (402)"),
        ("fault-404", "model_not_found", "API error (404)"),
    ],
)
async def test_a_refusal_is_told_at_once(vendor: FakeEmbedder, model: str, kind: str, said: str) -> None:
    error = await failure(vendor, model)

    assert error.kind == kind
    assert said in error.message
    assert vendor.calls[model] == 1


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("fault-500", "API error (500)"),
        ("short", "1 vectors of [8] dimensions for 2 texts"),
        ("uneven", "2 vectors of [8, 9] dimensions for 2 texts"),
        ("empty", "2 vectors of [0] dimensions for 2 texts"),
        ("twice", "its indices are not those of the texts"),
        ("inf", "a dimension that is no number"),
        ("text", "no embeddings: Expected `float`, got `str`"),
        ("page", "no embeddings: "),
    ],
)
async def test_what_is_no_answer_is_asked_for_three_times(
    virtual_time: MockClock, vendor: FakeEmbedder, model: str, said: str
) -> None:
    error = await failure(vendor, model)

    assert error.kind == "server_error"
    assert said in error.message
    assert vendor.calls[model] == 3


async def test_a_vendor_that_stumbles_once_is_asked_again(virtual_time: MockClock, vendor: FakeEmbedder) -> None:
    assert await embedded(vendor, "flaky-503-1", "one") == [padded(vector_of("one", 8))]


async def test_a_vendor_that_never_answers_is_left_in_the_end(virtual_time: MockClock, vendor: FakeEmbedder) -> None:
    error = await failure(vendor, "hang")

    assert (error.kind, error.message) == ("timeout", "acme: no embeddings within 30 s")
    assert vendor.calls["hang"] == 3


async def test_a_bad_key_is_a_bad_key(vendor: FakeEmbedder) -> None:
    assert (await failure(vendor, "words-8", key="bad-key")).kind == "auth"


async def test_a_bad_key_gives_way_to_the_next_and_is_not_tried_again(vendor: FakeEmbedder) -> None:
    remote = Remote(Vendor("acme", vendor.url), OPENAI, model="words-8", keys=("bad-key", KEY))
    for text in ("one", "two"):
        await remote.embed([text])
    await remote.aclose()

    tried = [headers["authorization"].removeprefix("Bearer ") for _, headers in vendor.requests]
    assert tried == ["bad-key", KEY, KEY]


async def test_nobody_there_is_an_outage(virtual_time: MockClock) -> None:
    remote = Remote(Vendor("acme", "http://127.0.0.1:9"), OPENAI, model="words-8")

    with pytest.raises(ProviderError, match="cannot connect") as caught:
        await remote.embed(["one"])
    await remote.aclose()

    assert caught.value.retryable


async def test_a_cancelled_question_leaves_nothing_behind(vendor: FakeEmbedder) -> None:
    remote = Remote(Vendor("acme", vendor.url), OPENAI, model="hang")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(remote.embed, ["one"])
        with trio.fail_after(5):
            await vendor.hung.wait()
        nursery.cancel_scope.cancel()
    await remote.aclose()
