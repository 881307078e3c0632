"""Asking a provider, as tests do it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from msgspec.structs import replace

from goclaw.domain.chat import ChatMessage, ChatRequest, ChatResponse, ToolSpec
from goclaw.providers.catalogue import BY_NAME
from goclaw.providers.provider import Provider, open_provider
from tests.fakes.vendors.vendor import Vendor

COMPATIBLE = {"gemini": "/openai"}  # where its other wire is
LOOK_UP = ToolSpec(
    name="look_up",
    description="Looks a word up",
    parameters={"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
)


@asynccontextmanager
async def provider_of(vendor: Vendor, *keys: str, at_once: int = 64, **more: Any) -> AsyncIterator[Provider]:
    """Our row for a vendor of the farm, at the farm's address."""
    row = replace(BY_NAME[vendor.name], **more) if more else BY_NAME[vendor.name]
    base = vendor.url + COMPATIBLE.get(vendor.name, "")
    provider = open_provider(row, keys=keys or ("key",), base_url=base, timeout=20, at_once=at_once)
    try:
        yield provider
    finally:
        await provider.aclose()


def asking(text: str = "hello there", *before: ChatMessage, model: str = "", **more: Any) -> ChatRequest:
    return ChatRequest(messages=(*before, ChatMessage(role="user", content=text)), model=model, **more)


def going_on(ask: ChatRequest, said: ChatResponse, *results: str) -> ChatRequest:
    """The next request of a loop: what the model said, and what its calls gave."""
    spoken = ChatMessage(
        role="assistant", content=said.content, thinking=said.thinking, tool_calls=said.tool_calls, raw=said.raw
    )
    given = [
        ChatMessage(role="tool", content=text, tool_call_id=call.id, tool_name=call.name)
        for call, text in zip(said.tool_calls, results, strict=True)
    ]
    return replace(ask, messages=(*ask.messages, spoken, *given))


async def answer(provider: Provider, ask: ChatRequest, **how: Any) -> ChatResponse:
    """The whole answer, whose pieces were those of its text and thinking."""
    async with provider.stream(ask, **how) as chunks:
        got = [chunk async for chunk in chunks]
    done = got[-1].done
    assert done is not None
    assert ("".join(chunk.content for chunk in got), "".join(chunk.thinking for chunk in got)) in (
        (done.content, done.thinking),
        ("", ""),
    ) or done.tool_calls  # calls that were written as text are taken out of it
    return done
