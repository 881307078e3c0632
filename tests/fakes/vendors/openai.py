"""OpenAI: chat completions, Responses, the model list; and the backend its ChatGPT accounts use."""

from __future__ import annotations

from tests.fakes.vendors.embeddings import embed
from tests.fakes.vendors.openai_chat import OpenAIChat, models
from tests.fakes.vendors.openai_responses import AccountResponses, Compact, Responses
from tests.fakes.vendors.vendor import Vendor

NAMES = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-5", "gpt-5-mini", "gpt-5.1", "gpt-5.5", "o3", "o4-mini")


def openai() -> Vendor:
    routes = {
        "POST /v1/chat/completions": OpenAIChat(),
        "POST /v1/responses": Responses(),
        "POST /v1/responses/compact": Compact(),
        "POST /v1/embeddings": embed,
        "GET /v1/models": models(*NAMES, owner="openai"),
    }
    return Vendor("openai", "/v1", routes)


def chatgpt() -> Vendor:
    return Vendor("chatgpt", "/backend-api", {"POST /backend-api/codex/responses": AccountResponses()})
