"""The Anthropic of the farm is right if the official SDK cannot tell."""

from __future__ import annotations

import anthropic
import httpx
import httpx2
import pytest
from anthropic.types import MessageParam, ToolParam

from tests.fakes.vendors.script import Call, Redacted, Refuse, Think, Trouble, Usage, answer

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")

OLD, NEW = "claude-sonnet-4-5-20250929", "claude-opus-5-5"
HELLO: list[MessageParam] = [{"role": "user", "content": "hello there"}]
TOOLS: list[ToolParam] = [
    {
        "name": "look_up",
        "description": "Looks a word up",
        "input_schema": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
    }
]
THINKING = {"type": "enabled", "budget_tokens": 1024}


@pytest.fixture
def vendor(farm):
    return farm["anthropic"]


@pytest.fixture
async def sdk(vendor):
    base = vendor.url.removesuffix("/v1")
    http = anthropic.DefaultAsyncHttpxClient(verify=False)  # reads no certificates
    async with anthropic.AsyncAnthropic(
        api_key="key", base_url=base, max_retries=0, timeout=10, http_client=http
    ) as sdk:
        yield sdk


def ask(sdk, messages=HELLO, **more):
    return sdk.messages.create(**{"model": OLD, "max_tokens": 2000, "messages": messages, **more})


async def final(sdk, messages=HELLO, **more):
    async with sdk.messages.stream(**{"model": OLD, "max_tokens": 2000, "messages": messages, **more}) as stream:
        return await stream.get_final_message()


@pytest.mark.parametrize("way", [ask, final])
async def test_it_echoes_in_one_piece_and_streamed(sdk, way):
    said = await way(sdk)

    assert [block.text for block in said.content] == ["echo hello there"]
    assert (said.stop_reason, said.role, said.model) == ("end_turn", "assistant", OLD)
    assert said.usage.input_tokens > 0
    assert said.usage.output_tokens == 4


async def test_the_events_come_in_the_order_of_the_documentation(sdk, vendor):
    vendor.will(answer(Think("hm"), "two words"))
    events = [event.type async for event in await ask(sdk, stream=True)]

    assert events == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 2,  # a thought and its signature
        "content_block_stop",
        "content_block_start",
        *["content_block_delta"] * 2,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


@pytest.mark.parametrize("way", [ask, final])
async def test_a_tool_is_called_and_its_result_answered(sdk, way):
    messages = [{"role": "user", "content": '!tool {"word": "tea"}'}]
    called = await way(sdk, messages, tools=TOOLS)
    call = called.content[0]

    assert (called.stop_reason, call.name, call.input) == ("tool_use", "look_up", {"word": "tea"})

    result = {"type": "tool_result", "tool_use_id": call.id, "content": "leaves"}
    messages += [{"role": "assistant", "content": called.content}, {"role": "user", "content": [result]}]
    assert (await way(sdk, messages, tools=TOOLS)).content[0].text == "the tool said: leaves"


async def test_blocks_that_take_turns_are_told_apart_by_index(sdk, vendor):
    vendor.will(answer(Call("look_up", {"word": "tea"}), Call("look_up", {"word": "milk"}), interleave=True))
    indexes = [event.index async for event in await ask(sdk, stream=True) if event.type == "content_block_delta"]
    vendor.will(answer(Call("look_up", {"word": "tea"}), Call("look_up", {"word": "milk"}), interleave=True))
    said = await final(sdk)

    assert indexes == [0, 1, 0, 1, 0, 1]
    assert [call.input["word"] for call in said.content] == ["tea", "milk"]


async def test_thoughts_come_signed_and_go_back_as_they_were(sdk, vendor):
    vendor.will(answer(Think("let me look"), Redacted("a secret"), Call("look_up", {"word": "tea"})))
    said = await final(sdk, thinking=THINKING, tools=TOOLS)
    thought, hidden, call = said.content

    assert (thought.thinking, hidden.type) == ("let me look", "redacted_thinking")
    assert thought.signature

    result = {"type": "tool_result", "tool_use_id": call.id, "content": "leaves"}
    back = [*HELLO, {"role": "assistant", "content": said.content}, {"role": "user", "content": [result]}]
    assert (await final(sdk, back, thinking=THINKING, tools=TOOLS)).content[0].text == "the tool said: leaves"

    back[1] = {"role": "assistant", "content": [thought.model_copy(update={"thinking": "let me lie"}), hidden, call]}
    with pytest.raises(anthropic.BadRequestError, match="Invalid `signature` in `thinking` block"):
        await ask(sdk, back, thinking=THINKING, tools=TOOLS)

    back[1] = {"role": "assistant", "content": [call]}
    with pytest.raises(anthropic.BadRequestError, match="must start with a thinking block"):
        await ask(sdk, back, thinking=THINKING, tools=TOOLS)


async def test_a_signature_may_come_in_parts(sdk, vendor):
    vendor.will(answer(Think("hm", signed_in=2)), answer(Think("hm")))
    deltas = [event.delta async for event in await ask(sdk, stream=True) if event.type == "content_block_delta"]
    parts = [delta.signature for delta in deltas if delta.type == "signature_delta"]

    assert len(parts) == 2
    assert "".join(parts) == (await ask(sdk)).content[0].signature


async def test_a_new_model_thinks_unasked_and_shows_it_only_when_asked(sdk):
    hidden = (await final(sdk, model=NEW)).content[0]
    shown = (await final(sdk, model=NEW, thinking={"type": "adaptive", "display": "summarized"})).content[0]

    assert (hidden.type, hidden.thinking) == ("thinking", "")
    assert hidden.signature
    assert shown.thinking == "The user says: hello there"


async def test_a_new_model_takes_a_thought_back_only_after_the_same_words(sdk, vendor):
    vendor.will(answer(Think("hm"), Call("look_up", {"word": "tea"})))
    more = {"model": NEW, "tools": TOOLS, "system": "be brief"}
    said = await final(sdk, **more)
    result = {"type": "tool_result", "tool_use_id": said.content[1].id, "content": "leaves"}
    back = [*HELLO, {"role": "assistant", "content": said.content}, {"role": "user", "content": [result]}]

    assert (await final(sdk, back, **more)).content[-1].text == "the tool said: leaves"
    marked = [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}]
    assert await ask(sdk, back, **{**more, "system": marked})
    assert await ask(sdk, back, **{**more, "model": "claude-sonnet-5-5"})
    for change in ({"system": "be long"}, {"tools": [{**TOOLS[0], "description": "x"}]}):
        with pytest.raises(anthropic.BadRequestError, match="The block is bound to a different conversation"):
            await ask(sdk, back, **{**more, **change})


async def test_what_is_cached_is_written_once_and_read_again(sdk):
    system = [{"type": "text", "text": "word " * 2000, "cache_control": {"type": "ephemeral"}}]
    first = (await final(sdk, system=system)).usage
    second = (await ask(sdk, system=system)).usage

    assert first.cache_creation_input_tokens == second.cache_read_input_tokens > 2000
    assert first.cache_read_input_tokens == second.cache_creation_input_tokens == 0


async def test_a_script_may_name_the_usage(sdk, vendor):
    vendor.will(answer("x", usage=Usage(input=100, output=7, cache_read=60, cache_write=30)))
    usage = (await ask(sdk)).usage

    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (10, 60, 30)
    assert usage.output_tokens == 7


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("length", "max_tokens"), ("filter", "refusal"), ("overflow", "model_context_window_exceeded")],
)
async def test_it_may_stop_for_other_reasons(sdk, vendor, finish, reason):
    vendor.will(answer("half", finish=finish))
    assert (await final(sdk)).stop_reason == reason


async def test_the_models_come_in_pages(sdk):
    page = await sdk.models.list(limit=3)
    everything = [model.id async for model in sdk.models.list(limit=3)]

    assert (len(page.data), page.has_more) == (3, True)
    assert everything[0] == NEW
    assert OLD in everything
    assert len(everything) == len(set(everything)) > 3
    assert (await sdk.models.retrieve(OLD)).display_name == "Claude Sonnet 4.5"


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (401, anthropic.AuthenticationError, "authentication_error"),
        (403, anthropic.PermissionDeniedError, "permission_error"),
        (404, anthropic.NotFoundError, "not_found_error"),
        (413, anthropic.RequestTooLargeError, "request_too_large"),
        (429, anthropic.RateLimitError, "rate_limit_error"),
        (500, anthropic.InternalServerError, "api_error"),
        (529, anthropic.OverloadedError, "overloaded_error"),
    ],
)
async def test_an_error_has_the_shape_of_its_status(sdk, vendor, status, error, kind):
    vendor.will(Refuse(status, "no", retry_after=3))
    with pytest.raises(error) as caught:
        await ask(sdk)

    assert caught.value.body["error"] == {"type": kind, "message": "no"}
    assert caught.value.body["request_id"]
    assert caught.value.response.headers["retry-after"] == "3"


async def test_an_overload_in_the_middle_of_a_stream_is_an_error_event(sdk, vendor):
    vendor.will(answer("one two three", trouble=Trouble("error", after=4, data=b"Overloaded")))
    with pytest.raises(anthropic.APIStatusError) as caught:
        await final(sdk)

    assert caught.value.body["error"] == {"type": "overloaded_error", "message": "Overloaded"}


@pytest.mark.parametrize("kind", ["close", "reset", "raw"])
async def test_a_broken_wire_is_noticed(sdk, vendor, kind):
    vendor.will(answer("one two three", trouble=Trouble(kind, after=3, data=b"SSH-2.0-OpenSSH_9.2\r\n")))
    with pytest.raises(httpx2.TransportError):
        await final(sdk)


RESULT = {"type": "tool_result", "tool_use_id": "toolu_9", "content": "x"}
CALL = {"type": "tool_use", "id": "toolu_9", "name": "look_up", "input": {}}
MARKED = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}
USER = {"role": "user", "content": "go on"}


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"max_tokens": 100_000}, "max_tokens: 100000 > 64000"),
        ({"wat": 1}, "wat: Extra inputs are not permitted"),
        ({"messages": []}, "at least one message is required"),
        ({"messages": [{"role": "assistant", "content": "x"}, USER]}, 'first message must use the "user" role'),
        ({"messages": [{"role": "system", "content": "x"}, USER]}, 'Unexpected role "system"'),
        (
            {"messages": [{"role": "user", "content": [RESULT]}]},
            "unexpected `tool_use_id` found in `tool_result` blocks",
        ),
        ({"messages": [USER, {"role": "assistant", "content": [CALL]}, USER]}, "without `tool_result` blocks"),
        ({"messages": [{"role": "user", "content": [MARKED] * 5}]}, "A maximum of 4 blocks with cache_control"),
        ({"messages": [USER, {"role": "assistant", "content": "so "}]}, "cannot end with trailing whitespace"),
        (
            {"messages": [USER, {"role": "assistant", "content": "so"}], "model": NEW},
            "does not support assistant message",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]}, "must be non-empty"),
        ({"tools": [{"name": "a b", "input_schema": {"type": "object"}}]}, "tools.0.custom.name"),
        ({"tools": [{"name": "ab", "input_schema": {}}]}, "tools.0.custom.input_schema.type"),
        ({"tools": TOOLS * 2}, "Tool names must be unique"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "must be greater than `thinking.budget_tokens`"),
        ({"thinking": THINKING, "temperature": 0.5}, "may only be set to 1 when thinking is enabled"),
        ({"thinking": THINKING, "tools": TOOLS, "tool_choice": {"type": "any"}}, "tool_choice forces tool use"),
        ({"thinking": {"type": "adaptive"}}, "adaptive thinking is not supported"),
        ({"thinking": THINKING, "model": NEW}, '"thinking.type.enabled" is not supported for this model'),
        ({"thinking": {"type": "disabled"}, "model": NEW}, '"thinking.type.disabled" is not supported'),
        ({"temperature": 0.5, "model": NEW}, "`temperature` is deprecated for this model"),
        ({"temperature": 1.0, "version": "2026-10-21"}, "temperature: Extra inputs are not permitted"),
        ({"temperature": 0.5, "top_p": 0.9}, "cannot both be specified"),
        ({"tools": TOOLS, "tool_choice": {"type": "any"}, "model": NEW}, "are not supported for this model"),
    ],
)
async def test_it_refuses_what_the_real_one_refuses(vendor, more, what):
    body = {"model": OLD, "max_tokens": 2000, "messages": HELLO, **more}
    headers = {"x-api-key": "key", "anthropic-version": body.pop("version", "2023-06-01")}
    sent = {name: value for name, value in body.items() if value is not None}
    async with httpx.AsyncClient(headers=headers, verify=False) as http:
        no = await http.post(f"{vendor.url}/messages", json=sent)

    assert no.status_code == 400
    assert no.json()["error"]["type"] == "invalid_request_error"
    assert what in no.json()["error"]["message"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"x-api-key": "bad-key", "anthropic-version": "2023-06-01"}, 401),
        ({"x-api-key": "key"}, 400),
        ({"x-api-key": "key", "anthropic-version": "2099-01-01"}, 400),
    ],
)
async def test_it_wants_a_key_and_a_version(vendor, headers, status):
    async with httpx.AsyncClient(headers=headers, verify=False) as http:
        no = await http.post(f"{vendor.url}/messages", json={})

    assert no.status_code == status
    assert no.json()["type"] == "error"
