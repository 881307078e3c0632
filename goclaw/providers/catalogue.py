"""The vendors we know, one row each. Contract: providers.md §2.

A vendor with a quirk is a row that names it. A vendor that is not here is a row made at run time.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from goclaw.settings.providers import ModelInfo

Wire = Literal["openai_chat", "responses", "chatgpt_oauth", "anthropic", "acp", "claude_cli", "offline"]
Quirk = Literal[
    "alternates",  # user and assistant take turns, and only the assistant follows a tool
    "asks_for_tools",  # says of each model at `/api/show` whether it takes tools
    "model_has_slash",  # a model name without `/` means the default model
    "names_tool_results",  # a tool result repeats the tool's name
    "nine_character_ids",  # call ids are exactly nine letters and digits
    "no_stream_with_tools",  # a request with tools is answered in one piece
    "no_tools",  # refuses `tools`
    "plain_schemas",  # tool schemas without much of JSON Schema
    "thinks_by_budget",  # `enable_thinking` and a number of tokens
    "thinks_by_object",  # `reasoning: {effort}`
    "user_speaks_last",  # no answer is begun for it
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
    chat_path: str = "/chat/completions"
    extra: dict[str, Any] = {}  # further members of every request: OpenRouter's `provider`, Ollama's `keep_alive`
    model_info: dict[str, ModelInfo] = {}  # the operator's word on single models
    compacts: bool = False  # it makes conversations shorter by itself (agent-loop.md §13.4)


CATALOGUE = (
    Vendor("offline", default_model="offline-1", wire="offline", keyless=True),
    Vendor("anthropic", "https://api.anthropic.com/v1", "claude-sonnet-4-5-20250929", wire="anthropic"),
    Vendor("openai", "https://api.openai.com/v1", "gpt-4o"),
    Vendor(
        "openrouter",
        "https://openrouter.ai/api/v1",
        "anthropic/claude-sonnet-4-5-20250929",
        quirks=("model_has_slash", "thinks_by_object"),
        headers={"HTTP-Referer": "https://goclaw.dev", "X-Title": "GoClaw"},
    ),
    Vendor("groq", "https://api.groq.com/openai/v1", "llama-3.3-70b-versatile"),
    Vendor("deepseek", "https://api.deepseek.com/v1", "deepseek-chat"),
    Vendor(
        "gemini",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "gemini-2.0-flash",
        quirks=("names_tool_results", "plain_schemas", "user_speaks_last"),
    ),
    Vendor(
        "mistral",
        "https://api.mistral.ai/v1",
        "mistral-large-latest",
        quirks=("alternates", "nine_character_ids", "names_tool_results"),
    ),
    Vendor("xai", "https://api.x.ai/v1", "grok-3-mini"),
    Vendor("minimax", "https://api.minimax.io/v1", "MiniMax-M2.5", chat_path="/text/chatcompletion_v2"),
    Vendor("cohere", "https://api.cohere.ai/compatibility/v1", "command-a"),
    Vendor("perplexity", "https://api.perplexity.ai", "sonar-pro", quirks=("alternates", "no_tools")),
    Vendor(
        "dashscope",
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        "qwen3-max",
        quirks=("no_stream_with_tools", "thinks_by_budget"),
    ),
    Vendor("bailian", "https://coding-intl.dashscope.aliyuncs.com/v1", "qwen3.5-plus"),
    Vendor("zai", "https://api.z.ai/api/paas/v4", "glm-5"),
    Vendor("zai_coding", "https://api.z.ai/api/coding/paas/v4", "glm-5"),
    Vendor("novita", "https://api.novita.ai/openai", "moonshotai/kimi-k2.5"),
    Vendor("byteplus", "https://ark.ap-southeast.bytepluses.com/api/v3", "seed-2-0-lite-260228"),
    Vendor("yescale", "https://api.yescale.io/v1"),
    Vendor("ollama", "http://localhost:11434/v1", "llama3.3", quirks=("asks_for_tools",), keyless=True),
    Vendor("ollama_cloud", "https://api.ollama.ai/v1"),
    Vendor("claude_cli", default_model="sonnet", wire="claude_cli", keyless=True),
    Vendor("acp", default_model="claude", wire="acp", keyless=True),
)

BY_NAME = {vendor.name: vendor for vendor in CATALOGUE}

# Logs in instead of having a key, so it is only ever a row of the store; §7.3.
CHATGPT = Vendor("chatgpt_oauth", "https://chatgpt.com/backend-api", "gpt-5.3-codex", wire="chatgpt_oauth")
