"""The same text is paid once. Contract: providers.md §12, data-model.md §18."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from typing import Any

import psycopg
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from goclaw.domain.errors import ProviderError, StoreError
from goclaw.providers.catalogue import Vendor
from goclaw.providers.embeddings.cached import Cached
from goclaw.providers.embeddings.embedder import TEXTS
from goclaw.providers.embeddings.remote import Remote
from goclaw.providers.embeddings.vector import Vector, padded
from goclaw.providers.embeddings.wires import OPENAI
from goclaw.settings.retention import Retention
from goclaw.stores import retention
from goclaw.stores.database import Database, open_database
from goclaw.stores.retention import rules
from tests.fakes.embedder import FakeEmbedder, fake_embedder, vector_of

words = st.text(alphabet="ab c\n日", max_size=6)


class Paid:
    """An embedder that writes down what it was paid for. Texts in `poisoned` are refused with their batch."""

    provider, model, lexical, dims = "acme", "words", False, 8

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.poisoned: set[str] = set()

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        if self.poisoned & set(texts):
            raise ProviderError("format", "poisoned")
        self.texts += texts
        return [padded(vector_of(text, 8)) if text.strip() else padded(()) for text in texts]

    async def aclose(self) -> None: ...


class Away:
    """A database that is not there."""

    async def run(self, work: Any, /, *args: Any) -> Any:
        raise StoreError("unavailable", "gone")


@pytest.fixture
async def vendor() -> AsyncIterator[FakeEmbedder]:
    async with fake_embedder() as vendor:
        yield vendor


async def test_what_is_known_is_not_asked_for_again_not_even_by_another_life(
    database: Database, vendor: FakeEmbedder
) -> None:
    answers = []
    for _ in range(2):
        cached = Cached(Remote(Vendor("acme", vendor.url), OPENAI, model="words-8"), database)
        answers.append(await cached.embed(["one", "two", "one"]))
        await cached.aclose()

    assert vendor.texts == ["one", "two"]
    assert answers[0] == answers[1] == [padded(vector_of(text, 8)) for text in ("one", "two", "one")]


async def test_another_model_or_vendor_knows_nothing_of_it(database: Database) -> None:
    one, model, vendor = Paid(), Paid(), Paid()
    model.model, vendor.provider = "others", "elsewhere"

    for paid in (one, model, vendor):
        await Cached(paid, database).embed(["text"])

    assert one.texts == model.texts == vendor.texts == ["text"]


async def test_only_what_is_missing_is_asked_for(database: Database) -> None:
    paid = Paid()
    await Cached(paid, database).embed(["a", "b"])
    await Cached(paid, database).embed(["c", "b", "", "a", "d"])

    assert paid.texts == ["a", "b", "c", "", "d"]


async def test_what_was_paid_before_a_failure_is_kept(database: Database) -> None:
    paid, texts = Paid(), [f"text {n}" for n in range(2 * TEXTS)]
    paid.poisoned = {texts[-1]}
    with pytest.raises(ProviderError):
        await Cached(paid, database).embed(texts)
    paid.poisoned, bought = set(), len(paid.texts)

    await Cached(paid, database).embed(texts)

    assert bought == TEXTS
    assert paid.texts == texts


async def test_without_a_database_vectors_cost_money_but_are_there() -> None:
    paid = Paid()
    cached = Cached(paid, Away())  # type: ignore[arg-type]

    assert await cached.embed(["one"]) == await cached.embed(["one"]) == [padded(vector_of("one", 8))]
    assert paid.texts == ["one", "one"]


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(words, max_size=20), cuts=st.lists(st.integers(0, 20), max_size=4))
def test_it_does_not_matter_how_questions_are_cut_or_what_was_known(
    dsn: str, texts: list[str], cuts: list[int]
) -> None:
    """The database remembers over the examples, so each meets another cache."""
    paid = Paid()
    edges = [0, *sorted(min(cut, len(texts)) for cut in cuts), len(texts)]

    async def ask() -> tuple[list[list[Vector]], int, list[Vector]]:
        async with open_database(dsn, pool_min=1) as database:
            cached = Cached(paid, database)
            pieces = [await cached.embed(texts[a:b]) for a, b in pairwise(edges)]
            return pieces, len(paid.texts), await cached.embed(texts)

    pieces, before, again = trio.run(ask)
    whole = trio.run(Paid().embed, texts)

    assert [vector for piece in pieces for vector in piece] == whole == again
    assert not any(text.strip() for text in paid.texts[before:])


async def test_what_nobody_needs_is_forgotten_and_what_is_needed_stays(database: Database, dsn: str) -> None:
    paid = Paid()
    await Cached(paid, database).embed(["needed", "old", "young"])
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute("UPDATE embedding_cache SET last_used_at = now() - interval '31 days'")
        await Cached(paid, database).embed(["needed", "young"])
    (rule,) = [rule for rule in rules(Retention()) if rule.table == "embedding_cache"]

    gone = await database.run(retention.forget, rule)
    await Cached(paid, database).embed(["needed", "young", "old"])

    assert gone == 1
    assert paid.texts == ["needed", "old", "young", "old"]


async def test_the_table_is_bounded_and_the_oldest_give_way(database: Database, dsn: str) -> None:
    fill = """
    INSERT INTO embedding_cache (hash, provider, model, embedding, dims, last_used_at)
    SELECT n::text, 'acme', 'words', '{1}', 1, now() - n * interval '1 second' FROM generate_series(1, %s) n
    """
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute(fill, [retention.VECTORS + 3])
        (rule,) = [rule for rule in rules(Retention()) if rule.table == "embedding_cache"]

        gone = await database.run(retention.forget, rule)

        left = db.execute("SELECT count(*), max(hash::int) FROM embedding_cache").fetchone()
    assert gone == 3
    assert left == (retention.VECTORS, retention.VECTORS)
