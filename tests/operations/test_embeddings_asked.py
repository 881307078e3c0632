"""Who makes vectors, and a try of it, against a vendor of embeddings. Contract: edge-http.md §7."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from goclaw.actors.engine.added import Opening
from goclaw.domain.access import Caller, Role
from goclaw.domain.ids import new_id
from goclaw.operations.context import Context, House
from goclaw.operations.embeddings import GetStatus, VerifyEmbedding, status, verify_embedding
from goclaw.operations.params import decode
from goclaw.operations.provider_shapes import CreateProvider
from goclaw.operations.providers import create
from goclaw.security.box import Box
from goclaw.settings.providers import Provider, Providers
from goclaw.settings.section import Secret
from goclaw.settings.settings import Settings
from goclaw.stores.database import Database
from tests.actors.house import house as open_house
from tests.fakes.embedder import FakeEmbedder, fake_embedder

KEY = b"k" * 32


@pytest.fixture
async def vendor() -> AsyncIterator[FakeEmbedder]:
    async with fake_embedder() as vendor:
        yield vendor


@pytest.fixture
async def ctx(database: Database, tmp_path: Path, vendor: FakeEmbedder) -> AsyncIterator[Context]:
    named = {"mine": Provider(api_key=Secret("of-the-file"), api_base=vendor.url)}
    settings = Providers(allow_private=True, named=named)
    opening = Opening(Box(KEY), allow_private=True)
    async with open_house(database, tmp_path, providers=settings, opening=opening) as system:
        house = House(Settings(providers=settings), system, "0", new_id(), 0, box=Box(KEY))
        yield Context(house, Caller(user_id="lan", role=Role.ADMIN))


async def add(ctx: Context, **more: Any) -> None:
    await create(ctx, decode(CreateProvider, {"provider_type": "openai_compat", "api_key": "sk-1", **more}))


async def test_an_added_provider_makes_vectors_as_soon_as_it_is_there(ctx: Context, vendor: FakeEmbedder) -> None:
    before = await status(ctx, GetStatus())
    await add(ctx, name="openai", api_base=vendor.url)
    after = await status(ctx, GetStatus())

    assert (before.configured, before.provider, before.model) == (False, "offline", "offline-hash-1024")
    assert (after.configured, after.provider, after.model) == (True, "openai", "text-embedding-3-small")


@pytest.mark.parametrize(("name", "key"), [("mine", "of-the-file"), ("acme", "sk-1")])
async def test_a_try_says_how_long_vectors_are(ctx: Context, vendor: FakeEmbedder, name: str, key: str) -> None:
    await add(ctx, name="acme", api_base=vendor.url)

    tried = await verify_embedding(ctx, VerifyEmbedding(id=name, model="words-12"))

    assert (tried.valid, tried.error, tried.dimensions) == (True, None, 12)
    assert vendor.requests[-1][1]["authorization"] == f"Bearer {key}"


@pytest.mark.parametrize(
    ("key", "model", "said"),
    [
        ("bad-key", "words-8", "Incorrect API key"),
        ("sk-1", "", "has no usual embedding model: name one"),
        ("sk-1", "rigid-3072", "answers with 3072 dimensions"),
    ],
)
async def test_a_try_that_fails_says_why_and_never_the_key(ctx: Context, vendor, key: str, model: str, said: str):
    await add(ctx, name="acme", api_base=vendor.url, api_key=key)

    tried = await verify_embedding(ctx, VerifyEmbedding(id="acme", model=model))

    assert not tried.valid
    assert said in str(tried.error)
    assert "bad-key" not in str(tried.error)
