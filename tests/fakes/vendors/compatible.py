"""The rows of vendors that speak OpenAI chat completions: name, base, dialect, some models."""

from __future__ import annotations

from tests.fakes.vendors import dialects
from tests.fakes.vendors.embeddings import embed
from tests.fakes.vendors.openai_chat import Chat, models
from tests.fakes.vendors.vendor import Vendor

ROWS: tuple[tuple[str, str, type[Chat], tuple[str, ...]], ...] = (
    ("openrouter", "/api/v1", dialects.OpenRouter, ("anthropic/claude-sonnet-4-5-20250929", "openai/gpt-4o")),
    ("groq", "/openai/v1", dialects.Groq, ("llama-3.3-70b-versatile", "openai/gpt-oss-120b")),
    ("deepseek", "/v1", dialects.DeepSeek, ("deepseek-chat", "deepseek-reasoner", "deepseek-v4-pro")),
    ("mistral", "/v1", dialects.Mistral, ("mistral-large-latest", "mistral-small-latest")),
    ("xai", "/v1", Chat, ("grok-3-mini", "grok-4")),
    ("cohere", "/compatibility/v1", dialects.Cohere, ("command-a",)),
    ("perplexity", "", dialects.Perplexity, ("sonar", "sonar-pro")),
    ("dashscope", "/compatible-mode/v1", dialects.DashScope, ("qwen3-max", "qwen3-32b")),
    ("bailian", "/v1", dialects.Thoughtful, ("qwen3.5-plus",)),
    ("zai", "/api/paas/v4", dialects.Thoughtful, ("glm-5",)),
    ("zai_coding", "/api/coding/paas/v4", dialects.Thoughtful, ("glm-5",)),
    ("novita", "/openai", dialects.Thoughtful, ("moonshotai/kimi-k2.5",)),
    ("byteplus", "/api/v3", dialects.Thoughtful, ("seed-2-0-lite-260228",)),
    ("yescale", "/v1", Chat, ("gpt-4o",)),
    ("ollama_cloud", "/v1", dialects.Thoughtful, ("gpt-oss:120b",)),
    ("fireworks", "/inference/v1", dialects.Fireworks, ("accounts/fireworks/models/kimi-k2",)),
)


def compatible() -> list[Vendor]:
    return [
        Vendor(
            name,
            base,
            {
                f"POST {base}/chat/completions": dialect(),
                f"GET {base}/models": models(*names, owner=name),
                f"POST {base}/embeddings": embed,
            },
        )
        for name, base, dialect, names in ROWS
    ]


def minimax() -> Vendor:
    routes = {"POST /v1/text/chatcompletion_v2": dialects.MiniMax(), "GET /v1/models": models("MiniMax-M2.5")}
    return Vendor("minimax", "/v1", routes)
