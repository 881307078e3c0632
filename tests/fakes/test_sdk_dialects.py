"""Vendors that speak OpenAI's language with an accent: what they share, and what they do not."""

from __future__ import annotations

import openai
import pytest

from tests.fakes.vendors.compatible import ROWS
from tests.fakes.vendors.script import Call, Refuse, Think, Trouble, Usage, answer

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # the SDK drops its generators half-read

HELLO = [{"role": "user", "content": "hello there"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
    },
}
MODEL = {name: models[0] for name, _, _, models in ROWS} | {"ollama": "llama3.3", "gemini": "gemini-3-flash-preview"}
TOOLLESS = ("perplexity",)


@pytest.fixture(params=MODEL)
async def vendor(farm, request):
    return farm[request.param]


@pytest.fixture
async def sdk(vendor):
    async with client(vendor) as sdk:
        yield sdk


def client(vendor):
    base = f"{vendor.url}/openai" if vendor.name == "gemini" else vendor.url
    http = openai.DefaultAsyncHttpxClient(verify=False)  # reads no certificates
    return openai.AsyncOpenAI(api_key="key", base_url=base, max_retries=0, timeout=10, http_client=http)


def ask(sdk, vendor, messages=HELLO, **more):
    return sdk.chat.completions.create(**{"model": MODEL[vendor.name], "messages": messages, **more})


async def refused(vendor, messages=HELLO, error=openai.BadRequestError, **more):
    """The document of the error."""
    async with client(vendor) as sdk:
        with pytest.raises(error) as caught:
            await ask(sdk, vendor, messages, **more)
    return caught.value.response.json()


async def chunks_of(vendor, messages=HELLO, **more):
    async with client(vendor) as sdk:
        return [chunk async for chunk in await ask(sdk, vendor, messages, stream=True, **more)]


# What they share


async def test_every_one_echoes_in_one_piece_and_streamed(sdk, vendor):
    whole = await ask(sdk, vendor)
    chunks = [chunk async for chunk in await ask(sdk, vendor, stream=True)]

    assert whole.choices[0].message.content == "echo hello there"
    assert whole.usage.completion_tokens == 4
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "echo hello there"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"


async def test_every_one_calls_tools_and_answers_their_results(sdk, vendor):
    if vendor.name in TOOLLESS:
        return await refused(vendor, tools=[TOOL])
    messages = [{"role": "user", "content": '!tool {"word": "tea"}'}]
    said = (await ask(sdk, vendor, messages, tools=[TOOL])).choices[0]
    call = said.message.tool_calls[0]

    assert (said.finish_reason, call.function.name) == ("tool_calls", "look_up")
    assert call.function.arguments == '{"word":"tea"}'

    messages += [
        said.message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "leaves"},
    ]
    again = await ask(sdk, vendor, messages, tools=[TOOL])
    assert again.choices[0].message.content == "the tool said: leaves"
    return None


async def test_every_one_says_when_to_come_back(sdk, vendor):
    vendor.will(Refuse(429, retry_after=7))
    with pytest.raises(openai.RateLimitError) as caught:
        await ask(sdk, vendor)

    assert caught.value.response.headers["retry-after"] == "7"


async def test_every_one_lists_its_models(sdk, vendor):
    names = [model.id async for model in await sdk.models.list()]

    assert any(MODEL[vendor.name] in name for name in names)


@pytest.mark.parametrize("vendor", ["openrouter", "mistral", "ollama", "gemini"], indirect=True)
async def test_the_same_text_has_the_same_vector(sdk, vendor):
    async def vectors(*texts):
        answer = await sdk.embeddings.create(model="text-embedding-3-small", input=list(texts))
        return [row.embedding for row in answer.data]

    tea, milk = await vectors("tea", "milk")

    assert [tea] == await vectors("tea")
    assert tea != milk
    assert len(tea) == 1536
    assert abs(sum(value * value for value in tea) - 1) < 1e-4


# What they do not


async def test_mistral_wants_ids_of_nine_letters_and_roles_in_order(farm):
    vendor = farm["mistral"]
    called = {"role": "assistant", "content": "", "tool_calls": [{**CALL, "id": "call_1"}]}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "x"}
    wrong = await refused(vendor, [*HELLO, called, result])

    assert (wrong["code"], wrong["type"]) == ("3280", "invalid_function_call")
    assert wrong["message"] == "Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9."

    called["tool_calls"][0]["id"] = result["tool_call_id"] = "abcDEF123"
    async with client(vendor) as sdk:
        assert await ask(sdk, vendor, [*HELLO, called, result])

    wrong = await refused(vendor, [*HELLO, called, result, *HELLO])
    assert (wrong["code"], wrong["message"]) == ("3230", "Unexpected role 'user' after role 'tool'")
    wrong = await refused(vendor, [*HELLO, {"role": "assistant", "content": "so"}])
    assert wrong["message"].startswith("Expected last role User or Tool")
    wrong = await refused(vendor, [*HELLO, called, *HELLO])
    assert wrong["message"] == "Not the same number of function calls and responses"


CALL = {"type": "function", "function": {"name": "look_up", "arguments": "{}"}}


async def test_mistral_knows_only_its_own_parameters_and_sends_calls_whole(farm):
    vendor = farm["mistral"]
    wrong = await refused(vendor, error=openai.UnprocessableEntityError, seed=1)
    vendor.will(answer(Call("look_up", {"word": "tea"})))
    chunks = await chunks_of(vendor)

    assert wrong["message"]["detail"][0]["loc"] == ["body", "seed"]
    assert [len(c.choices[0].delta.tool_calls or ()) for c in chunks] == [0, 1, 0]
    assert chunks[-1].usage.total_tokens


async def test_cohere_knows_no_stream_options(farm):
    vendor = farm["cohere"]
    error = openai.UnprocessableEntityError
    wrong = await refused(vendor, error=error, stream=True, stream_options={"include_usage": True})

    assert "stream_options" in wrong["message"]
    assert await chunks_of(vendor)


async def test_groq_fails_to_write_a_call_unless_it_is_cool(farm):
    vendor = farm["groq"]
    messages = [{"role": "user", "content": "!badly"}]
    wrong = await refused(vendor, messages, tools=[TOOL])
    async with client(vendor) as sdk:
        cool = await ask(sdk, vendor, messages, tools=[TOOL], temperature=0)

    assert wrong["error"]["code"] == "tool_use_failed"
    assert wrong["error"]["failed_generation"] == '<function=look_up>{"word": "tea"}</function>'
    assert cool.choices[0].message.tool_calls[0].function.name == "look_up"


async def test_groq_puts_the_usage_beside_the_finish(farm):
    last = (await chunks_of(farm["groq"]))[-1]

    assert last.choices[0].finish_reason == "stop"
    assert last.x_groq["usage"]["completion_tokens"] == 4


async def test_deepseek_thinks_aloud_and_wants_it_back(farm):
    vendor = farm["deepseek"]
    vendor.will(answer(Think("let me look"), Call("look_up", {"word": "tea"})))
    async with client(vendor) as sdk:
        said = (await ask(sdk, vendor, model="deepseek-reasoner", tools=[TOOL])).choices[0].message
    result = {"role": "tool", "tool_call_id": said.tool_calls[0].id, "content": "leaves"}
    back = said.model_dump(exclude_none=True)

    assert back["reasoning_content"] == "let me look"
    async with client(vendor) as sdk:
        assert await ask(sdk, vendor, [*HELLO, back, result], model="deepseek-reasoner")
        del back["reasoning_content"]
        assert await ask(sdk, vendor, [*HELLO, back, result], model="deepseek-chat")
    wrong = await refused(vendor, [*HELLO, back, result], model="deepseek-reasoner")
    assert wrong["error"]["message"] == "The `reasoning_content` in the thinking mode must be passed back to the API."


@pytest.mark.parametrize(
    ("name", "field"), [("deepseek", "reasoning_content"), ("groq", "reasoning"), ("openrouter", "reasoning")]
)
async def test_thoughts_are_streamed_in_a_field_of_their_own(farm, name, field):
    farm[name].will(answer(Think("let me see"), "so"))
    chunks = await chunks_of(farm[name])

    assert "".join(getattr(c.choices[0].delta, field, None) or "" for c in chunks if c.choices) == "let me see"


async def test_perplexity_takes_turns_and_no_tools(farm):
    vendor = farm["perplexity"]
    wrong = await refused(vendor, tools=[TOOL])
    twice = await refused(vendor, [*HELLO, *HELLO])
    async with client(vendor) as sdk:
        said = await ask(sdk, vendor, [{"role": "system", "content": "x"}, *HELLO])

    assert wrong["error"]["message"] == "Tool calling is not supported for this model."
    assert (twice["error"]["type"], twice["error"]["code"]) == ("invalid_message", 400)
    assert said.citations


async def test_openrouter_says_what_it_cost_and_keeps_the_line_warm(farm):
    vendor = farm["openrouter"]
    vendor.will(answer("x", usage=Usage(cost=0.0125)))
    chunks = await chunks_of(vendor, extra_body={"provider": {"order": ["DeepInfra"]}})
    wrong = await refused(vendor, model="gpt-4o")
    vendor.will(answer("one two", trouble=Trouble("error", after=3, data=b"upstream died")))

    assert chunks[-1].usage.cost == 0.0125
    assert chunks[0].provider == "DeepInfra"
    assert wrong["error"] == {"message": "gpt-4o is not a valid model ID", "code": 400}
    with pytest.raises(openai.APIError, match="upstream died"):
        await chunks_of(vendor)


async def test_dashscope_streams_no_calls_and_thinks_only_when_it_streams(farm):
    vendor = farm["dashscope"]
    wrong = await refused(vendor, tools=[TOOL], stream=True)
    whole = await refused(vendor, extra_body={"enable_thinking": True})
    thought = await chunks_of(vendor, extra_body={"enable_thinking": True})

    assert wrong["error"]["code"] == "invalid_parameter_error"
    assert whole["error"]["message"] == "parameter.enable_thinking must be set to false for non-streaming calls"
    assert any(getattr(c.choices[0].delta, "reasoning_content", None) for c in thought)


async def test_fireworks_sends_long_answers_only_in_streams(farm):
    wrong = await refused(farm["fireworks"], max_tokens=5000)

    assert "stream=true" in wrong["error"]["message"]
    assert await chunks_of(farm["fireworks"], max_tokens=5000)


async def test_gemini_signs_its_calls_and_wants_the_signature_back(farm):
    vendor = farm["gemini"]
    async with client(vendor) as sdk:
        said = (await ask(sdk, vendor, [{"role": "user", "content": "!tool"}], tools=[TOOL])).choices[0].message
    back = said.model_dump(exclude_none=True)
    result = {"role": "tool", "tool_call_id": said.tool_calls[0].id, "content": "leaves"}

    assert back["tool_calls"][0]["extra_content"]["google"]["thought_signature"]
    back["tool_calls"][0]["extra_content"]["google"]["thought_signature"] += "A"
    (corrupt,) = await refused(vendor, [*HELLO, back, result])
    del back["tool_calls"][0]["extra_content"]
    (missing,) = await refused(vendor, [*HELLO, back, result])
    assert corrupt["error"]["message"] == "Corrupted thought signature."
    assert missing["error"]["status"] == "INVALID_ARGUMENT"
    assert "missing a thought_signature" in missing["error"]["message"]


async def test_ollama_refuses_what_a_model_cannot(farm):
    vendor = farm["ollama"]
    toolless = await refused(vendor, model="gemma3:27b", tools=[TOOL])
    mindless = await refused(vendor, model="llama3.3", reasoning_effort="low")
    unknown = await refused(vendor, model="nothing", error=openai.NotFoundError)

    assert toolless["error"]["message"] == "registry.ollama.ai/library/gemma3:27b does not support tools"
    assert mindless["error"]["message"] == '"llama3.3" does not support thinking'
    assert unknown["error"]["type"] == "not_found_error"
