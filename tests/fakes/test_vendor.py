"""The fake vendor is right if the official SDK cannot tell."""

from __future__ import annotations

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

from tests.fakes.vendor import fake_vendor

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # the SDK drops its generators half-read

ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello there"}]
TOOL: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
    },
}


@pytest.fixture
async def vendor():
    async with fake_vendor() as vendor:
        yield vendor


@pytest.fixture
async def sdk(vendor):
    async with openai.AsyncOpenAI(api_key="key", base_url=vendor.url, max_retries=0) as sdk:
        yield sdk


async def test_the_sdk_gets_a_whole_answer(sdk):
    answer = await sdk.chat.completions.create(model="echo", messages=ASK)

    assert answer.choices[0].message.content == "echo hello there"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == 13


async def test_the_sdk_gets_a_streamed_answer_and_its_usage(sdk):
    stream = await sdk.chat.completions.create(
        model="echo", messages=ASK, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    assert [c.choices[0].delta.content for c in chunks if c.choices] == ["", "echo ", "hello ", "there", None]
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage.completion_tokens == 3


async def test_the_sdk_assembles_a_streamed_tool_call_and_gets_the_answer_to_its_result(sdk):
    async with sdk.chat.completions.stream(model="tool", messages=ASK, tools=[TOOL]) as stream:
        called = (await stream.get_final_completion()).choices[0].message

    assert called.tool_calls[0].function.name == "look_up"
    assert called.tool_calls[0].function.arguments == '{"word":"hello there"}'

    result = {"role": "tool", "tool_call_id": called.tool_calls[0].id, "content": "a greeting"}
    answer = await sdk.chat.completions.create(
        model="tool", messages=[*ASK, called.model_dump(exclude_none=True), result], tools=[TOOL]
    )
    assert answer.choices[0].message.content == "the tool said: a greeting"


async def test_the_sdk_lists_the_models(sdk):
    assert "echo" in [model.id async for model in await sdk.models.list()]


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("fault-401", openai.AuthenticationError),
        ("fault-429", openai.RateLimitError),
        ("fault-500", openai.InternalServerError),
        ("fault-close", openai.APIConnectionError),
    ],
)
async def test_the_sdk_recognises_every_fault(sdk, model, error):
    with pytest.raises(error):
        await sdk.chat.completions.create(model=model, messages=ASK)


async def test_a_flaky_model_recovers(sdk, vendor):
    with pytest.raises(openai.RateLimitError):
        await sdk.chat.completions.create(model="flaky-429-1", messages=ASK)
    answer = await sdk.chat.completions.create(model="flaky-429-1", messages=ASK)

    assert answer.choices[0].message.content == "echo hello there"
    assert vendor.calls["flaky-429-1"] == 2
