"""The vendors we know, one row each. Contract: providers.md §2.

A vendor with a quirk is a row that names it. A vendor that is not here is a row made at run time.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Wire = Literal["openai_chat", "responses", "chatgpt_oauth", "anthropic", "offline"]
Quirk = Literal[
    "model_has_slash",  # a model name without `/` means the default model
    "names_tool_results",  # a tool result repeats the tool's name
    "nine_character_ids",  # call ids are exactly nine letters and digits
    "no_stream_options",  # refuses `stream_options`, so usage is estimated
    "no_stream_with_tools",  # a request with tools is answered in one piece
    "no_tools",  # refuses `tools`
]


class Vendor(Struct, frozen=True):
    """How to reach one vendor. An empty `base_url` or `default_model` must be set by the operator."""

    name: str
    base_url: str = ""
    default_model: str = ""
    wire: Wire = "openai_chat"
    quirks: tuple[Quirk, ...] = ()
    headers: dict[str, str] = {}
    keyless: bool = False
    prompt_cache: bool = True  # mark what is worth caching, where that is asked for


CATALOGUE = (
    Vendor("offline", default_model="offline-1", wire="offline", keyless=True),
    Vendor("anthropic", "https://api.anthropic.com/v1", "claude-sonnet-4-5-20250929", wire="anthropic"),
    Vendor("openai", "https://api.openai.com/v1", "gpt-4o"),
    Vendor(
        "openrouter",
        "https://openrouter.ai/api/v1",
        "anthropic/claude-sonnet-4-5-20250929",
        quirks=("model_has_slash",),
        headers={"X-Title": "GoClaw"},
    ),
    Vendor("groq", "https://api.groq.com/openai/v1", "llama-3.3-70b-versatile"),
    Vendor("deepseek", "https://api.deepseek.com/v1", "deepseek-chat"),
    Vendor(
        "mistral",
        "https://api.mistral.ai/v1",
        "mistral-large-latest",
        quirks=("nine_character_ids", "names_tool_results"),
    ),
    Vendor("xai", "https://api.x.ai/v1", "grok-3-mini"),
    Vendor("cohere", "https://api.cohere.ai/compatibility/v1", "command-a", quirks=("no_stream_options",)),
    Vendor("perplexity", "https://api.perplexity.ai", "sonar-pro", quirks=("no_tools",)),
    Vendor(
        "dashscope",
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        "qwen3-max",
        quirks=("no_stream_with_tools",),
    ),
    Vendor("bailian", "https://coding-intl.dashscope.aliyuncs.com/v1", "qwen3.5-plus"),
    Vendor("zai", "https://api.z.ai/api/paas/v4", "glm-5"),
    Vendor("zai_coding", "https://api.z.ai/api/coding/paas/v4", "glm-5"),
    Vendor("novita", "https://api.novita.ai/openai", "moonshotai/kimi-k2.5"),
    Vendor("byteplus", "https://ark.ap-southeast.bytepluses.com/api/v3", "seed-2-0-lite-260228"),
    Vendor("yescale", "https://api.yescale.io/v1"),
    Vendor("ollama", "http://localhost:11434/v1", "llama3.3", keyless=True),
    Vendor("ollama_cloud", "https://api.ollama.ai/v1"),
)

BY_NAME = {vendor.name: vendor for vendor in CATALOGUE}
