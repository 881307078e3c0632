"""Anthropic's Messages over a real socket. Contract: providers.md §4, §10, PR-03, PR-04, PR-05, PR-20, PR-25."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from goclaw.domain.chat import ChatMessage, ChatOptions, Image, Raw, ToolCall
from goclaw.domain.errors import ProviderError
from goclaw.providers.prompt_cache import CACHE_BOUNDARY
from tests.fakes.vendors.farm import open_farm
from tests.fakes.vendors.script import Call, Redacted, Refuse, Think, Trouble, Usage
from tests.fakes.vendors.script import answer as says
from tests.providers.asking import LOOK_UP, answer, asking, going_on, provider_of

OLD, NEW, NEWEST = "claude-sonnet-4-5-20250929", "claude-opus-4-6", "claude-opus-5-5"
PIXEL = Image("image/png", "iVBORw0KGgo=")


@pytest.fixture
async def vendor():
    async with open_farm() as farm:
        yield farm["anthropic"]


@pytest.fixture
async def model(vendor):
    async with provider_of(vendor, "very-secret-key") as provider:
        yield provider


def thinking(effort: str, **more: int) -> ChatOptions:
    return ChatOptions(reasoning_effort=effort, temperature=0.7, **more)


async def test_it_answers_in_pieces_with_its_count(model, vendor):
    vendor.will(says("hello to you", usage=Usage(input=100, cache_read=60, cache_write=10, output=7)))

    said = await answer(model, asking())

    assert (said.content, said.finish_reason, said.raw) == ("hello to you", "stop", None)
    usage = said.usage
    assert (usage.prompt_tokens, usage.cache_read_tokens, usage.cache_write_tokens) == (100, 60, 10)
    assert (usage.completion_tokens, usage.estimated) == (7, False)
    heard = vendor.heard[-1]
    assert (heard.headers["x-api-key"], heard.headers["anthropic-version"]) == ("very-secret-key", "2023-06-01")
    assert (heard.body["model"], heard.body["max_tokens"]) == (OLD, 8192)


async def test_calls_whose_pieces_alternate_are_told_apart(model, vendor):
    calls = Call("look_up", {"word": "tea"}), Call("look_up", {"word": "milk"})
    vendor.will(says("let me see", *calls, interleave=True))

    said = await answer(model, asking(tools=(LOOK_UP,)))

    assert [call.arguments for call in said.tool_calls] == [{"word": "tea"}, {"word": "milk"}]
    assert (said.content, said.finish_reason) == ("let me see", "tool_calls")


@pytest.mark.parametrize(("name", "effort"), [(OLD, "low"), (NEW, "medium"), (NEWEST, "high")])
async def test_thoughts_go_back_as_they_came(model, vendor, name, effort):
    """The vendor of the farm refuses a thought that is not its own, to the letter."""
    vendor.will(says(Think("tea is\nhot ✓", signed_in=2), Redacted("secret"), "so:", Call("look_up", {"word": "tea"})))
    ask = asking(model=name, tools=(LOOK_UP,), options=thinking(effort))

    first = await answer(model, ask)
    second = await answer(model, going_on(ask, first, "a drink"))

    assert (first.thinking, first.content) == ("tea is\nhot ✓", "so:")
    assert second.content
    blocks = vendor.bodies[-1]["messages"][1]["content"]
    assert [block["type"] for block in blocks] == ["thinking", "redacted_thinking", "text", "tool_use"]
    assert vendor.bodies[-1]["messages"][2]["content"][0]["tool_use_id"] == first.tool_calls[0].id


async def test_a_thought_after_another_prompt_is_dropped_and_not_refused(model, vendor):
    """The prompt says what time it is; a life later it is another one."""
    vendor.will(says(Think("hm"), "so:", Call("look_up", {"word": "tea"})))
    at = ChatMessage(role="system", content="It is noon.")
    ask = asking("what is tea?", at, model=NEWEST, tools=(LOOK_UP,), options=thinking("high"))
    first = await answer(model, ask)
    later = going_on(ask, first, "a drink")

    said = await answer(
        model, replace(later, messages=(ChatMessage(role="system", content="One."), *later.messages[1:]))
    )

    assert first.thinking == "hm"
    assert said.content


async def test_thoughts_stay_with_the_model_that_had_them(model, vendor):
    vendor.will(says(Think("hm"), "well", Call("look_up", {"word": "tea"})))
    ask = asking(model=OLD, tools=(LOOK_UP,), options=thinking("low"))
    first = await answer(model, ask)

    await answer(model, going_on(asking(model="claude-haiku-4-5", tools=(LOOK_UP,)), first, "a drink"))

    blocks = vendor.bodies[-1]["messages"][1]["content"]
    assert [block["type"] for block in blocks] == ["text", "tool_use"]


async def test_a_call_that_was_never_made_is_not_given_back(model, vendor):
    """As after the last question a loop may ask."""
    raw = Raw("anthropic:claude-sonnet-4-5", ({"type": "text", "text": "so"}, {"type": "tool_use", "id": "t1"}))
    said = ChatMessage(role="assistant", content="so", raw=raw)

    await answer(model, asking("and now?", ChatMessage(role="user", content="hi"), said, model=OLD))

    assert vendor.bodies[-1]["messages"][1]["content"] == [{"type": "text", "text": "so"}]


@pytest.mark.parametrize(
    ("name", "effort", "longest", "tokens", "form"),
    [
        (OLD, "low", 8192, 8192, {"type": "enabled", "budget_tokens": 4096}),
        (OLD, "high", 8192, 40_192, {"type": "enabled", "budget_tokens": 32_000}),
        (NEW, "high", 8192, 16_384, {"type": "adaptive"}),
        (OLD, "off", 8192, 8192, None),
    ],
)
async def test_effort_becomes_what_the_model_knows(model, vendor, name, effort, longest, tokens, form):
    await answer(model, asking(model=name, options=thinking(effort, max_tokens=longest)))

    body = vendor.bodies[-1]
    assert (body["max_tokens"], body.get("thinking")) == (tokens, form)
    assert ("temperature" in body) == (form is None)
    assert body.get("output_config") == ({"effort": "high"} if name == NEW else None)


async def test_the_stable_part_is_marked_and_nothing_needless(model, vendor):
    prompt = ChatMessage(role="system", content=f"{'Be kind. ' * 600}{CACHE_BOUNDARY}It is noon.")
    short = ChatMessage(role="system", content=f"Be kind.{CACHE_BOUNDARY}It is noon.")

    await answer(model, asking("hi", prompt, tools=(LOOK_UP,)))
    await answer(model, asking("hi", short))

    first, second = vendor.bodies
    assert ["cache_control" in block for block in first["system"]] == [True, False]
    assert "cache_control" in first["tools"][-1]
    assert "cache_control" in first["messages"][-1]["content"][-1]
    assert not any("cache_control" in block for block in second["system"])
    assert CACHE_BOUNDARY not in str(vendor.bodies)


async def test_results_of_a_batch_are_one_turn_with_what_the_user_says_after_them(model, vendor):
    calls = (ToolCall(id="a", name="look_up"), ToolCall(id="b", name="look_up"))
    before = (
        ChatMessage(role="assistant", content="", tool_calls=calls),
        ChatMessage(role="tool", content="one", tool_call_id="a"),
        ChatMessage(role="tool", content="Error: no", tool_call_id="b", is_error=True),
    )

    await answer(model, asking("go on", *before))

    opening, asked, given = vendor.bodies[-1]["messages"]
    assert opening["role"] == "user"
    assert [block["type"] for block in asked["content"]] == ["tool_use", "tool_use"]
    assert [block["type"] for block in given["content"]] == ["tool_result", "tool_result", "text"]
    assert given["content"][1]["is_error"] is True


async def test_a_picture_follows_the_text(model, vendor):
    ask = asking(model=OLD)
    seen = ChatMessage(role="user", content="what is it?", images=(PIXEL,))
    await answer(model, asking("?", seen, model=ask.model))

    blocks = vendor.bodies[-1]["messages"][0]["content"]
    assert blocks[0]["text"] == "what is it?"
    assert blocks[1]["source"] == {"type": "base64", "media_type": "image/png", "data": PIXEL.data}


@pytest.mark.parametrize(
    ("no", "kind"),
    [
        (Refuse(529, "Overloaded", kind="overloaded_error"), "overloaded"),
        (Refuse(401, "invalid x-api-key", kind="authentication_error"), "auth"),
        (Refuse(400, "prompt is too long: 210000 tokens > 200000 maximum"), "context_overflow"),
        (Refuse(404, "model: claude-9"), "model_not_found"),
        (Refuse(400, "messages: roles must alternate"), "format"),
    ],
)
async def test_a_refusal_has_its_class_and_never_the_key(model, vendor, no, kind):
    vendor.will(no, no, no)
    with pytest.raises(ProviderError) as caught:
        await answer(model, asking())

    assert (caught.value.kind, caught.value.status) == (kind, no.status)
    assert "very-secret" not in caught.value.message


async def test_an_error_in_the_stream_is_a_refusal_too(model, vendor):
    vendor.will(says("half an answer", trouble=Trouble("error", after=4, data=b"Overloaded")))

    with pytest.raises(ProviderError) as caught:
        await answer(model, asking())
    assert caught.value.kind in ("overloaded", "server_error")


async def test_a_socket_that_ends_in_mid_answer_is_not_an_answer(model, vendor):
    vendor.will(says("half an answer", trouble=Trouble("close", after=4)))

    with pytest.raises(ProviderError, match="stream_interrupted"):
        await answer(model, asking())


async def test_the_list_of_models_is_read_to_its_end(model):
    listed = await model.models()

    assert len(listed) == len(set(listed)) >= 3
    assert all(name.startswith("claude") for name in listed)


async def test_a_parameter_that_is_refused_is_left_out_from_then_on(model, vendor):
    """Newer models take no temperature."""
    ask = asking(model="claude-opus-5-5", options=ChatOptions(temperature=0.7))

    assert (await answer(model, ask)).content == "echo hello there"
    await answer(model, ask)

    assert ["temperature" in body for body in vendor.bodies] == [True, False, False]


async def test_a_model_with_shorter_answers_thinks_less(model, vendor):
    name = "claude-opus-4-1"
    vendor.will(Refuse(400, "max_tokens: 40192 > 32000, which is the maximum allowed number of output tokens"))

    await answer(model, asking(model=name, options=thinking("high", max_tokens=8192)))

    body = vendor.bodies[-1]
    assert (body["max_tokens"], body["thinking"]["budget_tokens"]) == (32_000, 23_808)


async def test_a_conversation_that_is_too_long_makes_no_later_answer_shorter(model, vendor):
    what = "input length and `max_tokens` exceed context limit: 198240 + 8192 > 200000, decrease input length"
    vendor.will(Refuse(400, what))

    with pytest.raises(ProviderError) as caught:
        await answer(model, asking(model=OLD))
    await answer(model, asking(model=OLD))

    assert caught.value.kind == "context_overflow"
    assert [body["max_tokens"] for body in vendor.bodies] == [8192, 8192]
