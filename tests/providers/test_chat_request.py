"""Requests as vendors want them. Contract: providers.md §5.1, §6, PR-21, PR-23, PR-26."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from goclaw.domain.chat import ChatMessage, ChatOptions, ChatRequest, ToolCall, ToolSpec
from goclaw.providers.catalogue import BY_NAME, Vendor
from goclaw.providers.wire import Learned
from goclaw.providers.wires.chat.request import write

PLAIN = Vendor("acme", "https://acme.example/v1", "small")
TOOL = ToolSpec(name="now", description="the time", parameters={})
LONG_ID = "call_" + "x" * 60


def body(vendor: Vendor = PLAIN, model: str = "small", messages: tuple[ChatMessage, ...] = (), **more: Any) -> Any:
    return msgspec.json.decode(write(ChatRequest(messages=messages, model=model, **more), vendor, Learned()).body)


def conversation(call_id: str) -> tuple[ChatMessage, ...]:
    return (
        ChatMessage(role="system", content="Be<!-- GOCLAW_CACHE_BOUNDARY --> brief."),
        ChatMessage(role="user", content="what time is it?"),
        ChatMessage(
            role="assistant", thinking="a clock", tool_calls=(ToolCall(id=call_id, name="now", arguments={"z": 1}),)
        ),
        ChatMessage(role="tool", content="noon", tool_call_id=call_id, tool_name="now"),
    )


def test_a_conversation_with_a_call_is_spoken_as_openai_does():
    assert body(messages=conversation("call_1"))["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "what time is it?"},
        {
            "role": "assistant",
            "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "now", "arguments": '{"z":1}'}}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "noon"},
    ]


def test_only_what_was_chosen_is_sent():
    assert body() == {"model": "small", "messages": [], "stream": True, "stream_options": {"include_usage": True}}


def test_metadata_stays_at_home():
    assert (
        b"secret"
        not in write(ChatRequest(messages=(), model="m", metadata={"session": "secret"}), PLAIN, Learned()).body
    )


def test_tools_come_with_an_object_schema_and_a_choice():
    sent = body(tools=(TOOL,))

    parameters = {"type": "object", "properties": {}}
    function = {"name": "now", "description": "the time", "parameters": parameters}
    assert sent["tools"] == [{"type": "function", "function": function}]
    assert sent["tool_choice"] == "auto"


@pytest.mark.parametrize("model", ["gpt-5", "gpt-5-mini", "o1", "o3-mini", "o4-mini", "openai/o3"])
def test_models_that_think_are_limited_by_completion_tokens_and_led_by_a_developer(model):
    sent = body(BY_NAME["openai"], model, conversation("call_1"), options=ChatOptions(max_tokens=9, temperature=0.2))

    assert sent["max_completion_tokens"] == 9
    assert "max_tokens" not in sent
    assert ("temperature" in sent) == (model == "gpt-5")
    assert sent["messages"][0]["role"] == "developer"


def test_other_hosts_and_models_keep_the_system_role():
    assert body(PLAIN, "o3", conversation("c"))["messages"][0]["role"] == "system"
    assert body(BY_NAME["openai"], "gpt-4o", conversation("c"))["messages"][0]["role"] == "system"


def test_reasoning_is_echoed_to_deepseek_only():
    def assistant(model: str) -> Any:
        return body(PLAIN, model, conversation("c"))["messages"][2]

    assert assistant("deepseek-chat")["reasoning_content"] == "a clock"
    assert "reasoning_content" not in assistant("small")


@pytest.mark.parametrize(("vendor", "longest"), [(PLAIN, 40), (BY_NAME["mistral"], 9)])
@pytest.mark.parametrize("id", [LONG_ID, "call_1", "abcDEF123"])
def test_call_ids_fit_the_vendor_and_still_meet_their_results(vendor, longest, id):
    messages = body(vendor, "m", conversation(id))["messages"]
    sent = messages[2]["tool_calls"][0]["id"]

    assert sent == messages[3]["tool_call_id"]
    assert len(sent) <= longest
    if vendor.name == "mistral":
        assert len(sent) == 9
        assert sent.isalnum()
        assert messages[3]["name"] == "now"


def test_quirks_of_vendors():
    assert body(BY_NAME["openrouter"], "gpt-4o")["model"] == "anthropic/claude-sonnet-4-5-20250929"
    assert body(BY_NAME["openrouter"], "x/y")["model"] == "x/y"
    assert "tools" not in body(BY_NAME["perplexity"], tools=(TOOL,))
    assert body(BY_NAME["dashscope"], tools=(TOOL,))["stream"] is False
    assert body(BY_NAME["dashscope"])["stream"] is True


def test_parameters_that_were_refused_before_are_left_out():
    ask = ChatRequest(messages=(), model="m", options=ChatOptions(seed=1, top_p=0.5))

    assert "seed" not in msgspec.json.decode(write(ask, PLAIN, Learned(without=frozenset({"seed"}))).body)
