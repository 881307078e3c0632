"""Who makes the vectors with this configuration. Contract: providers.md §12, config-cli.md §9.3 step 6."""

from __future__ import annotations

from msgspec.structs import replace

from goclaw.domain.errors import ProviderError
from goclaw.providers.catalogue import Vendor
from goclaw.providers.choose import usable
from goclaw.providers.embeddings.embedder import Embedder
from goclaw.providers.embeddings.hashed import Hashed
from goclaw.security.ssrf import Guard
from goclaw.settings.providers import OFFLINE, Providers

AUTO = ("openai", "openrouter", "gemini")  # first wins; whoever is not here is asked only by name
MODELS = {
    "openai": "text-embedding-3-small",
    "openrouter": "openai/text-embedding-3-small",
    "gemini": "gemini-embedding-001",
    "mistral": "mistral-embed",
    "cohere": "embed-v4.0",
    "ollama": "nomic-embed-text",
}
LONGEST_NAME = 200  # characters of a model's; data-model.md, `embedding_cache`


def best(providers: Providers) -> tuple[str, str]:
    """Who makes vectors when nobody is named, and with which model."""
    usual = {name: MODELS[vendor.name] for name, vendor, _ in usable(providers) if vendor.name in MODELS}
    name = next((name for name in AUTO if name in usual), OFFLINE)
    return name, usual.get(name, Hashed.model)


def open_embedder(
    providers: Providers, *, provider: str = "", model: str = "", base_url: str = "", guard: Guard | None = None
) -> Embedder:
    """The embedder of that name, or the best there is. Opens no connection yet; who is paid is worth a `Cached`.

    Without a `provider` it is the first of `AUTO` that can be asked, else the offline one, which always can. An
    empty `model` is the vendor's usual one. `guard` says where it may connect to. Raises ProviderError for a provider
    that cannot be asked.
    """
    able = {name: (vendor, row) for name, vendor, row in usable(providers)}
    name = provider or best(providers)[0]
    if name == OFFLINE:
        return Hashed()
    if name not in able:
        raise ProviderError("auth", f"{name} makes no embeddings: it has no key, no address, or is turned off")
    vendor, row = able[name]
    model = model or MODELS.get(vendor.name, "")
    if not 1 <= len(model) <= LONGEST_NAME:
        said = "has no usual embedding model: name one" if not model else "has no embedding model of such a long name"
        raise ProviderError("format", f"{name} {said}")
    vendor = replace(vendor, base_url=base_url or vendor.base_url)
    return _open(vendor, model, row.keys, guard)


def _open(vendor: Vendor, model: str, keys: tuple[str, ...], guard: Guard | None) -> Embedder:
    from goclaw.providers.embeddings.remote import Remote  # httpx costs 60 ms; a house without vendors saves it
    from goclaw.providers.embeddings.wires import OLLAMA, OPENAI

    if vendor.name == "ollama":  # its OpenAI-compatible half lies below its own
        vendor = replace(vendor, base_url=vendor.base_url.rstrip("/").removesuffix("/v1"))
        return Remote(vendor, OLLAMA, model=model, guard=guard)
    return Remote(vendor, OPENAI, model=model, keys=keys, guard=guard)
