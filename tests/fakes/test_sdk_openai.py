"""The OpenAI of the farm, and those who speak its language, are right if the official SDK cannot tell."""

from __future__ import annotations

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

from tests.fakes.vendors.script import Call, Refuse, Say, Think, Trouble, Usage, answer

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # the SDK drops its generators half-read

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello there"}]
TOOLS: list[ChatCompletionToolParam] = [
    {
        "type": "function",
        "function": {
            "name": "look_up",
            "parameters": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
        },
    }
]


@pytest.fixture
def vendor(farm):
    return farm["openai"]


def sdk_of(vendor, key="key", path="", **more):
    http = openai.DefaultAsyncHttpxClient(verify=False)  # reads no certificates
    base = vendor.url + path
    return openai.AsyncOpenAI(api_key=key, base_url=base, max_retries=0, timeout=10, http_client=http, **more)


@pytest.fixture
async def sdk(vendor):
    async with sdk_of(vendor) as sdk:
        yield sdk


def ask(sdk, messages=HELLO, **more):
    return sdk.chat.completions.create(**{"model": "gpt-4o", "messages": messages, **more})


async def final(sdk, messages=HELLO, **more):
    options = {"model": "gpt-4o", "messages": messages, "stream_options": {"include_usage": True}, **more}
    async with sdk.chat.completions.stream(**options) as stream:
        return await stream.get_final_completion()


@pytest.mark.parametrize("way", [ask, final])
async def test_it_echoes_in_one_piece_and_streamed(sdk, way):
    said = await way(sdk)

    assert said.choices[0].message.content == "echo hello there"
    assert said.choices[0].finish_reason == "stop"
    assert said.usage.total_tokens == said.usage.prompt_tokens + said.usage.completion_tokens
    assert said.usage.completion_tokens == 4


async def test_the_usage_comes_last_in_a_chunk_without_choices(sdk, vendor):
    vendor.will(answer("x", usage=Usage(input=100, output=7, cache_read=60, reasoning=3)))
    chunks = [chunk async for chunk in await ask(sdk, stream=True, stream_options={"include_usage": True})]
    *others, last = chunks

    assert last.choices == []
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (100, 7)
    assert last.usage.prompt_tokens_details.cached_tokens == 60
    assert last.usage.completion_tokens_details.reasoning_tokens == 3
    assert all(chunk.usage is None for chunk in others)


async def test_usage_is_not_sent_unasked(sdk):
    chunks = [chunk async for chunk in await ask(sdk, stream=True)]

    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


@pytest.mark.parametrize("way", [ask, final])
async def test_tools_are_called_and_their_results_answered(sdk, way):
    messages = [{"role": "user", "content": '!tool {"word": "tea"}'}]
    said = (await way(sdk, messages, tools=TOOLS)).choices[0]
    call = said.message.tool_calls[0]

    assert (said.finish_reason, call.function.name) == ("tool_calls", "look_up")
    assert call.function.arguments == '{"word":"tea"}'

    messages += [said.message.model_dump(exclude_none=True), result_of(call)]
    assert (await way(sdk, messages, tools=TOOLS)).choices[0].message.content == "the tool said: leaves"


def result_of(call, content="leaves"):
    return {"role": "tool", "tool_call_id": call.id, "content": content}


async def test_calls_that_take_turns_are_told_apart_by_index(sdk, vendor):
    calls = [Call("look_up", {"word": "tea"}), Call("look_up", {"word": "milk"}, index=2)]
    vendor.will(answer(*calls, interleave=True))
    deltas = [chunk.choices[0].delta async for chunk in await ask(sdk, stream=True)]
    indexes = [call.index for delta in deltas for call in delta.tool_calls or ()]

    assert indexes == [2, 0, 2, 0, 2, 0]


async def test_it_lists_its_models(sdk):
    assert "gpt-4o" in [model.id async for model in await sdk.models.list()]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
async def test_an_error_has_the_shape_of_its_status(sdk, vendor, status, error):
    vendor.will(Refuse(status, "no", retry_after=3))
    with pytest.raises(error) as caught:
        await ask(sdk)

    assert caught.value.body["message"] == "no"
    assert caught.value.body.keys() == {"message", "type", "param", "code"}
    assert caught.value.response.headers["retry-after"] == "3"


async def test_a_bad_key_is_refused(vendor):
    async with sdk_of(vendor, "bad-key") as sdk:
        with pytest.raises(openai.AuthenticationError) as caught:
            await ask(sdk)

    assert caught.value.code == "invalid_api_key"


async def test_an_error_in_the_middle_of_a_stream_is_raised(sdk, vendor):
    vendor.will(answer("one two three", trouble=Trouble("error", after=3, data=b"out of memory")))
    with pytest.raises(openai.APIError, match="out of memory"):
        await final(sdk)


@pytest.mark.parametrize("kind", ["close", "reset", "raw"])
async def test_a_broken_wire_is_noticed(sdk, vendor, kind):
    vendor.will(answer("one two three", trouble=Trouble(kind, after=3)))
    with pytest.raises(openai.APIConnectionError):
        await final(sdk)


async def test_an_answer_may_be_held_and_released(sdk, vendor):
    vendor.will(answer("one two", trouble=Trouble("hold", after=2)))
    stream = await ask(sdk, stream=True)
    await vendor.until(lambda vendor: vendor.held == 1)
    vendor.release()

    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "one two"


async def test_a_stalled_answer_ends_when_its_client_leaves(sdk, vendor):
    vendor.will(answer("one two", trouble=Trouble("stall")))
    with pytest.raises(openai.APITimeoutError):
        await ask(sdk, timeout=0.05)

    await vendor.until(lambda vendor: vendor.abandoned == 1)


async def test_what_was_asked_is_kept(sdk, vendor):
    vendor.will(Refuse(500), answer("now"))
    with pytest.raises(openai.InternalServerError):
        await ask(sdk, seed=7)
    await ask(sdk)

    first, second = vendor.heard
    assert (first.method, first.path, first.key) == ("POST", "/v1/chat/completions", "key")
    assert first.body["seed"] == 7
    assert "seed" not in second.body
    assert vendor.unsaid == 0


CALL = {"id": "call_9", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
CALLED = {"role": "assistant", "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "call_9", "content": "x"}
LONG = {**CALLED, "tool_calls": [{**CALL, "id": "c" * 41}]}


@pytest.mark.parametrize(
    ("more", "code", "what"),
    [
        ({"messages": []}, "empty_array", "Invalid 'messages': empty array"),
        ({"messages": [*HELLO, RESULT]}, None, "must be a response to a preceeding message with 'tool_calls'"),
        ({"messages": [*HELLO, CALLED]}, None, "did not have response messages: call_9"),
        ({"messages": [*HELLO, CALLED, *HELLO, RESULT]}, None, "did not have response messages: call_9"),
        ({"messages": [*HELLO, LONG]}, "string_above_max_length", "maximum length 40"),
        (
            {"messages": [{"role": "user", "content": "x" * 600_000}]},
            "context_length_exceeded",
            "maximum context length",
        ),
        ({"model": "o3", "max_tokens": 9}, "unsupported_parameter", "Use 'max_completion_tokens' instead"),
        ({"model": "o3", "temperature": 0.5}, "unsupported_parameter", "'temperature' is not supported"),
        ({"model": "gpt-5", "temperature": 0.5}, "unsupported_value", "Only the default (1) value is supported"),
        ({"model": "no-such-model"}, "model_not_found", "does not exist"),
        ({"max_tokens": 100_000}, "invalid_value", "max_tokens is too large: 100000"),
        ({"temperature": 3}, "decimal_above_max_value", "Invalid 'temperature'"),
        ({"tools": []}, "empty_array", "Invalid 'tools'"),
        ({"tool_choice": "auto"}, None, "'tool_choice' is only allowed when 'tools' are specified"),
        ({"stream_options": {"include_usage": True}}, None, "only allowed when 'stream' is enabled"),
        ({"thinking": True}, "unknown_parameter", "Unknown parameter: 'thinking'"),
    ],
)
async def test_it_refuses_what_the_real_one_refuses(vendor, more, code, what):
    async with httpx.AsyncClient(headers={"authorization": "Bearer key"}, verify=False) as http:
        no = await http.post(f"{vendor.url}/chat/completions", json={"model": "gpt-4o", "messages": HELLO, **more})

    assert no.status_code == (404 if code == "model_not_found" else 400)
    assert no.json()["error"]["type"] == "invalid_request_error"
    assert no.json()["error"]["code"] == code
    assert what in no.json()["error"]["message"]


# Responses

RESPONSES_TOOLS = [{"type": "function", **TOOLS[0]["function"], "strict": False}]
THOUGHTS = {"effort": "low", "summary": "auto"}


def respond(sdk, input="hello there", **more):
    return sdk.responses.create(**{"model": "gpt-5", "input": input, **more})


async def final_response(sdk, input="hello there", **more):
    async with sdk.responses.stream(**{"model": "gpt-5", "input": input, **more}) as stream:
        return await stream.get_final_response()


@pytest.mark.parametrize("way", [respond, final_response])
async def test_a_response_echoes_in_one_piece_and_streamed(sdk, way):
    said = await way(sdk)

    assert (said.output_text, said.status) == ("echo hello there", "completed")
    assert said.usage.total_tokens == said.usage.input_tokens + said.usage.output_tokens


async def test_the_events_of_a_response_are_numbered_and_in_order(sdk, vendor):
    vendor.will(answer(Think("let me see"), Say("one two", phase="final_answer"), Call("look_up", {"word": "tea"})))
    events = [event async for event in await respond(sdk, stream=True, reasoning=THOUGHTS)]

    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type.removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        *["reasoning_summary_text.delta"] * 3,
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        *["output_text.delta"] * 2,
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        *["function_call_arguments.delta"] * 2,
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    assert events[-1].response.output[1].phase == "final_answer"


@pytest.mark.parametrize("way", [respond, final_response])
async def test_a_response_calls_a_tool_and_answers_its_result(sdk, vendor, way):
    vendor.will(answer(Think("let me look"), Call("look_up", {"word": "tea"})))
    more = {"tools": RESPONSES_TOOLS, "include": ["reasoning.encrypted_content"], "store": False}
    said = await way(sdk, reasoning=THOUGHTS, **more)
    thought, call = said.output

    assert thought.summary[0].text == "let me look"
    assert (call.name, call.arguments) == ("look_up", '{"word":"tea"}')
    assert call.id.startswith("fc_")

    items = [{"role": "user", "content": "hello"}, *(dump(item) for item in said.output)]
    items.append({"type": "function_call_output", "call_id": call.call_id, "output": "leaves"})
    assert (await way(sdk, items, **more)).output_text == "the tool said: leaves"

    items[1]["encrypted_content"] = "A" + items[1]["encrypted_content"]
    with pytest.raises(openai.BadRequestError, match="could not be verified"):
        await respond(sdk, items, **more)


def dump(item):
    return item.model_dump(exclude_none=True, exclude={"parsed_arguments"})


async def test_a_response_may_stop_early(sdk, vendor):
    vendor.will(answer("half", finish="length"), answer("half", finish="length"))
    whole = await respond(sdk)
    events = [event async for event in await respond(sdk, stream=True)]

    assert (whole.status, whole.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert events[-1].type == "response.incomplete"


async def test_a_response_may_fail_in_the_middle(sdk, vendor):
    vendor.will(answer("one two three", trouble=Trouble("error", after=5, data=b"out of memory")))
    *others, last = [event async for event in await respond(sdk, stream=True)]

    assert (last.type, last.sequence_number, len(others)) == ("response.failed", 5, 5)
    assert last.response.error.message == "out of memory"


FUNCTION_CALL = {"type": "function_call", "call_id": "call_9", "name": "look_up", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_9", "output": "x"}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": []}


@pytest.mark.parametrize(
    ("more", "code", "what"),
    [
        ({"messages": HELLO}, "unsupported_parameter", "has moved to 'input'"),
        ({"reasoning_effort": "low"}, "unsupported_parameter", "has moved to 'reasoning.effort'"),
        ({"thinking": True}, "unknown_parameter", "Unknown parameter: 'thinking'"),
        ({"input": []}, "missing_required_parameter", "'input'"),
        ({"input": [OUTPUT]}, None, "No tool call found for function call output with call_id call_9."),
        ({"input": [FUNCTION_CALL]}, None, "No tool output found for function call call_9."),
        (
            {"input": [{**FUNCTION_CALL, "id": "call_9"}, OUTPUT]},
            "invalid_value",
            "Expected an ID that begins with 'fc'",
        ),
        ({"input": [THOUGHT, *HELLO]}, None, "without its required following item"),
        ({"input": [{"role": "tool", "content": "x"}]}, "invalid_value", "Invalid value: 'tool'"),
        ({"input": [{"role": "user", "content": [{"type": "text"}]}]}, "invalid_value", "Invalid value: 'text'"),
        ({"tools": TOOLS}, "missing_required_parameter", "'tools[0].name'"),
        ({"max_output_tokens": 1}, "integer_below_min_value", "Expected a value >= 16"),
        ({"model": "gpt-5", "temperature": 0.5}, "unsupported_parameter", "'temperature' is not supported"),
        ({"previous_response_id": "resp_1"}, "previous_response_not_found", "not found"),
    ],
)
async def test_responses_refuse_what_the_real_ones_refuse(vendor, more, code, what):
    async with httpx.AsyncClient(headers={"authorization": "Bearer key"}, verify=False) as http:
        no = await http.post(f"{vendor.url}/responses", json={"model": "gpt-4o", "input": "hello", **more})

    assert no.status_code == 400
    assert no.json()["error"]["code"] == code
    assert what in no.json()["error"]["message"]


async def test_the_backend_of_accounts_streams_and_stores_nothing(farm):
    vendor = farm["chatgpt"]
    headers = {"chatgpt-account-id": "acc"}
    options = {"instructions": "be brief", "store": False}
    async with sdk_of(vendor, path="/codex", default_headers=headers) as sdk:
        events = [event async for event in await respond(sdk, stream=True, **options)]
        with pytest.raises(openai.BadRequestError) as whole:
            await respond(sdk, **options)
        with pytest.raises(openai.BadRequestError) as stored:
            await respond(sdk, stream=True, instructions="x")

    assert whole.value.response.json() == {"detail": "Stream must be set to true"}
    assert stored.value.response.json() == {"detail": "Store must be set to false"}
    assert events[-1].response.output_text == "echo hello there"
