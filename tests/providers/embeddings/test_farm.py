"""Every vendor with a usual embedding model, against the farm. Contract: providers.md §2, §12."""

from __future__ import annotations

import pytest

from goclaw.providers.embeddings.choose import MODELS, open_embedder
from goclaw.providers.embeddings.vector import DIMENSIONS, padded
from goclaw.settings.providers import Provider, Providers
from goclaw.settings.section import Secret
from tests.fakes.vendors.embeddings import SIZES, vector
from tests.fakes.vendors.farm import open_farm

COMPATIBLE = {"gemini": "/openai"}  # where OpenAI's wire begins, below the vendor's own
NAMED = {"nomic-embed-text": "nomic-embed-text:latest"}  # what a vendor makes of a name
TEXTS = [f"text number {n}" for n in range(120)]


@pytest.mark.parametrize("name", sorted(MODELS))
async def test_a_vendor_gives_a_vector_for_each_text(name: str) -> None:
    model = MODELS[name]
    async with open_farm() as farm:
        address = farm[name].url + COMPATIBLE.get(name, "")
        there = Providers(named={name: Provider(api_base=address, api_key=Secret("sk-key"))})
        embedder = open_embedder(there, provider=name)
        found = await embedder.embed(TEXTS)
        await embedder.aclose()

    dims = min(SIZES.get(model, 768), DIMENSIONS)
    assert embedder.dims == dims
    assert found == [padded(vector(NAMED.get(model, model), text, dims)) for text in TEXTS]
