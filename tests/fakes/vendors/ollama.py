"""Ollama: models with and without tools, its own `/api/show` and `/api/tags`, and `/v1` in OpenAI's language."""

from __future__ import annotations

import re
from typing import Any

from tests.fakes.vendors.embeddings import embed, vector
from tests.fakes.vendors.openai_chat import Chat, models
from tests.fakes.vendors.script import Refuse, tokens
from tests.fakes.vendors.vendor import Heard, Vendor

CAPABILITIES = {
    "llama3.3:latest": ("completion", "tools"),
    "qwen3:8b": ("completion", "tools", "thinking"),
    "gemma3:27b": ("completion", "vision"),  # no tools
    "nomic-embed-text:latest": ("embedding",),
}


class OllamaChat(Chat):
    """Asks for no key. A model that lacks a capability refuses the whole request."""

    free = True
    thought_field = "reasoning"

    def thinks(self, body: dict[str, Any]) -> bool:
        return body.get("reasoning_effort") not in (None, "none")

    def check(self, body: dict[str, Any]) -> None:
        name = full(body.get("model", ""))
        if name not in CAPABILITIES:
            raise Refuse(404, f"model '{body.get('model')}' not found", kind="not_found_error")
        super().check(body)
        if body.get("tools") and "tools" not in CAPABILITIES[name]:
            raise Refuse(400, f"registry.ollama.ai/library/{name} does not support tools", kind="api_error")
        if self.thinks(body) and "thinking" not in CAPABILITIES[name]:
            raise Refuse(400, f'"{body["model"]}" does not support thinking', kind="api_error")

    def refusal(self, no: Refuse) -> Any:
        kind = "not_found_error" if no.status == 404 else "api_error"
        return {"error": {"message": no.message, "type": no.kind or kind, "param": None, "code": None}}


class Native(OllamaChat):
    """Its own endpoints have errors of one word."""

    def refusal(self, no: Refuse) -> Any:
        return {"error": no.message}


def full(name: str) -> str:
    return name if ":" in name else f"{name}:latest"


def details(name: str) -> dict[str, Any]:
    family = re.split(r"[\d.:]", name)[0]
    return {
        "parent_model": "",
        "format": "gguf",
        "family": family,
        "families": [family],
        "parameter_size": "8.2B",
        "quantization_level": "Q4_K_M",
    }


def show(heard: Heard, found: re.Match[str]) -> Any:
    asked = heard.body or {}
    name = full(asked.get("model") or asked.get("name") or "")
    if name not in CAPABILITIES:
        raise Refuse(404, f"model '{asked.get('model', '')}' not found")
    family = details(name)["family"]
    return {
        "modelfile": f"FROM {name}",
        "parameters": "",
        "template": "{{ .Prompt }}",
        "details": details(name),
        "model_info": {"general.architecture": family, f"{family}.context_length": 131_072},
        "capabilities": list(CAPABILITIES[name]),
        "modified_at": "2026-01-01T00:00:00Z",
    }


def tags(heard: Heard, found: re.Match[str]) -> Any:
    rows = [
        {"name": name, "model": name, "modified_at": "2026-01-01T00:00:00Z", "size": 5_200_000_000, "digest": "f" * 64}
        for name in CAPABILITIES
    ]
    return {"models": [{**row, "details": details(str(row["name"]))} for row in rows]}


def embed_own(heard: Heard, found: re.Match[str]) -> Any:
    """`POST /api/embed`."""
    body = heard.body or {}
    name, given = full(body.get("model", "")), body.get("input", [])
    if "embedding" not in CAPABILITIES.get(name, ()):
        raise Refuse(400, f'"{body.get("model")}" does not support embeddings')
    texts = [given] if isinstance(given, str) else given
    size = body.get("dimensions") or 768
    rows = [vector(name, text, size) for text in texts]
    return {"model": body["model"], "embeddings": rows, "prompt_eval_count": sum(map(tokens, texts))}


def ollama() -> Vendor:
    vendor = Vendor("ollama", "/v1", {"POST /v1/chat/completions": OllamaChat()})
    vendor.tables(OllamaChat(), {"GET /v1/models": models(*CAPABILITIES), "POST /v1/embeddings": embed})
    own = {"POST /api/show": show, "GET /api/tags": tags, "POST /api/embed": embed_own}
    vendor.tables(Native(), own)
    return vendor
