"""Who makes the vectors. Contract: providers.md §12, config-cli.md §9.3."""

from __future__ import annotations

import subprocess
import sys

import pytest

from goclaw.domain.errors import ProviderError
from goclaw.providers.embeddings.choose import open_embedder
from goclaw.providers.embeddings.remote import Remote
from goclaw.settings.providers import Provider, Providers
from goclaw.settings.section import Secret
from tests.fakes.embedder import fake_embedder


def having(*names: str, **rows: Provider) -> Providers:
    keyed = {name: Provider(api_key=Secret("sk-1")) for name in names}
    return Providers(named={**keyed, **rows})


@pytest.mark.parametrize(
    ("names", "provider", "model"),
    [
        (["gemini", "openrouter", "openai", "groq"], "openai", "text-embedding-3-small"),
        (["gemini", "openrouter", "groq"], "openrouter", "openai/text-embedding-3-small"),
        (["groq", "gemini"], "gemini", "gemini-embedding-001"),
        (["groq", "mistral"], "offline", "offline-hash-1024"),
        ([], "offline", "offline-hash-1024"),
    ],
)
async def test_the_best_there_is(names: list[str], provider: str, model: str) -> None:
    chosen = open_embedder(having(*names))
    await chosen.aclose()

    assert (chosen.provider, chosen.model) == (provider, model)
    assert chosen.lexical == (provider == "offline")


async def test_the_operator_chooses() -> None:
    asked = [("openai", "m"), ("mistral", ""), ("offline", "ignored")]
    chosen = [open_embedder(having("openai", "mistral"), provider=name, model=model) for name, model in asked]
    for embedder in chosen:
        await embedder.aclose()

    found = [(embedder.provider, embedder.model) for embedder in chosen]
    assert found == [("openai", "m"), ("mistral", "mistral-embed"), ("offline", "offline-hash-1024")]


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        ("openai", "openai makes no embeddings"),
        ("nobody", "nobody makes"),
        ("groq", "groq has no usual embedding model"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(provider: str, said: str) -> None:
    with pytest.raises(ProviderError, match=said):
        open_embedder(having("groq"), provider=provider)


def test_a_model_whose_name_no_table_holds_is_refused() -> None:
    with pytest.raises(ProviderError, match="such a long name"):
        open_embedder(having("groq"), provider="groq", model="m" * 201)


async def test_ollama_is_asked_in_its_own_language_and_without_a_key() -> None:
    async with fake_embedder() as vendor:
        there = Providers(named={"ollama": Provider(api_base=vendor.url)})
        chosen = open_embedder(there, provider="ollama", model="words-8")
        await chosen.embed(["one"])
        await chosen.aclose()

        path, headers = vendor.requests[0]

    assert isinstance(chosen, Remote)
    assert path == "/api/embed"
    assert "authorization" not in headers


async def test_an_address_of_ones_own_is_used() -> None:
    async with fake_embedder() as vendor:
        chosen = open_embedder(having("openai"), provider="openai", model="words-8", base_url=vendor.url)
        await chosen.embed(["one"])
        await chosen.aclose()

        assert vendor.requests[0][1]["authorization"] == "Bearer sk-1"


def test_offline_vectors_do_not_load_the_http_client() -> None:
    code = (
        "import sys\n"
        "from goclaw.settings.providers import Providers\n"
        "from goclaw.providers.embeddings.choose import open_embedder\n"
        "open_embedder(Providers()); sys.exit('httpx' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
