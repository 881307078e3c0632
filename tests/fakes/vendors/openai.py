"""OpenAI: chat completions, the model list."""

from __future__ import annotations

from tests.fakes.vendors.openai_chat import OpenAIChat, models
from tests.fakes.vendors.vendor import Vendor

NAMES = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-5", "gpt-5-mini", "gpt-5.1", "gpt-5.5", "o3", "o4-mini")


def openai() -> Vendor:
    routes = {
        "POST /v1/chat/completions": OpenAIChat(),
        "GET /v1/models": models(*NAMES, owner="openai"),
    }
    return Vendor("openai", "/v1", routes)
