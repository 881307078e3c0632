"""OpenAI Responses over a real socket, and the backend of accounts. Contract: providers.md §7.3."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from goclaw.domain.chat import ChatMessage, ChatOptions, Image
from goclaw.domain.errors import ProviderError
from goclaw.providers.catalogue import BY_NAME, Vendor
from goclaw.providers.provider import open_provider
from tests.fakes.vendors.script import Call, Refuse, Say, Think, Trouble, Usage
from tests.fakes.vendors.script import answer as says
from tests.providers.asking import LOOK_UP, answer, asking, going_on, provider_of

THINKING = ChatOptions(reasoning_effort="low", temperature=0.5, max_tokens=500)


@pytest.fixture
def vendor(farm):
    return farm["openai"]


@pytest.fixture
async def model(vendor):
    async with provider_of(vendor, wire="responses") as provider:
        yield provider


async def test_it_answers_in_pieces_with_its_count(model, vendor):
    vendor.will(says("hello to you", usage=Usage(input=100, cache_read=60, output=9, reasoning=2)))

    said = await answer(model, asking(options=ChatOptions(temperature=0.5, max_tokens=500)))

    assert (said.content, said.finish_reason) == ("hello to you", "stop")
    usage = said.usage
    assert (usage.prompt_tokens, usage.cache_read_tokens, usage.completion_tokens, usage.thinking_tokens) == (
        100,
        60,
        9,
        2,
    )
    body = vendor.bodies[-1]
    assert (body["store"], body["max_output_tokens"], body["temperature"]) == (False, 500, 0.5)


async def test_calls_whose_pieces_alternate_are_told_apart_and_answered(model, vendor):
    calls = Call("look_up", {"word": "tea"}), Call("look_up", {"word": "milk"})
    vendor.will(says("let me see", *calls, interleave=True))
    ask = asking(tools=(LOOK_UP,))

    first = await answer(model, ask)
    second = await answer(model, going_on(ask, first, "hot", "cold"))

    assert [call.arguments for call in first.tool_calls] == [{"word": "tea"}, {"word": "milk"}]
    assert (first.content, first.finish_reason) == ("let me see", "tool_calls")
    assert second.content
    outputs = [item["output"] for item in vendor.bodies[-1]["input"] if item["type"] == "function_call_output"]
    assert outputs == ["hot", "cold"]


async def test_sealed_thoughts_go_back_with_what_came_of_them(model, vendor):
    vendor.will(says(Think("tea is hot"), Call("look_up", {"word": "tea"})))
    ask = asking(model="gpt-5", tools=(LOOK_UP,), options=THINKING)

    first = await answer(model, ask)
    await answer(model, going_on(ask, first, "a drink"))

    assert first.thinking == "tea is hot"
    assert [item["type"] for item in vendor.bodies[-1]["input"]][1:] == [
        "reasoning",
        "function_call",
        "function_call_output",
    ]
    assert "temperature" not in vendor.bodies[-1]


async def test_a_thought_without_its_call_stays_behind(model, vendor):
    vendor.will(says(Think("tea is hot"), Call("look_up", {"word": "tea"})))
    ask = asking(model="gpt-5", tools=(LOOK_UP,), options=THINKING)
    first = replace(await answer(model, ask), tool_calls=(), content="so")

    await answer(model, going_on(ask, first))

    assert [item["type"] for item in vendor.bodies[-1]["input"]] == ["message"]


async def test_commentary_is_not_the_answer(model, vendor):
    vendor.will(says(Say("looking around. ", phase="commentary"), Say("it is tea", phase="final_answer")))

    assert (await answer(model, asking())).content == "it is tea"


async def test_an_answer_that_is_cut_says_so(model, vendor):
    vendor.will(says("half an", finish="length"))

    assert (await answer(model, asking())).finish_reason == "length"


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        (says("x", finish="overflow"), "context_overflow"),
        (says(finish="filter"), "content_policy"),
        (Refuse(401, "Incorrect API key provided"), "auth"),
        (says("half an answer", trouble=Trouble("error", after=6, data=b"The server had an error")), "server_error"),
        (says("half an answer", trouble=Trouble("close", after=6)), "server_error"),
    ],
)
async def test_what_goes_wrong_has_its_class(model, vendor, behaviour, kind):
    vendor.will(behaviour)
    with pytest.raises(ProviderError) as caught:
        await answer(model, asking())

    assert caught.value.kind == kind


async def test_a_picture_and_a_schema_are_where_this_wire_wants_them(model, vendor):
    seen = ChatMessage(role="user", content="what is it?", images=(Image("image/png", "iVBORw0KGgo="),))
    wanted = {"type": "json_schema", "json_schema": {"name": "thing", "schema": {"type": "object"}, "strict": True}}

    await answer(model, asking("?", seen, options=ChatOptions(response_format=wanted)))

    body = vendor.bodies[-1]
    assert body["input"][0]["content"][1]["image_url"] == "data:image/png;base64,iVBORw0KGgo="
    form = {"type": "json_schema", "name": "thing", "schema": {"type": "object"}, "strict": True}
    assert body["text"] == {"format": form}


async def test_an_account_is_asked_as_its_backend_wants(farm):
    vendor = farm["chatgpt"]
    row = Vendor("chatgpt", wire="chatgpt_oauth", headers={"chatgpt-account-id": "me"})
    provider = open_provider(row, keys=("token",), base_url=vendor.url)

    said = await answer(provider, asking(model="gpt-5.3-codex", options=ChatOptions(max_tokens=500, temperature=1)))
    await provider.aclose()

    assert said.content == "echo hello there"
    assert vendor.heard[-1].headers["openai-beta"] == "responses=v1"
    assert BY_NAME["openai"].wire == "openai_chat"


async def test_a_shorter_answer_than_the_longest_stays_short(model, vendor):
    vendor.will(Refuse(400, "max_output_tokens is too large: 90000. This model supports at most 4096 tokens."))

    await answer(model, asking(options=ChatOptions(max_tokens=90_000)))
    await answer(model, asking(options=ChatOptions(max_tokens=100)))

    assert [body["max_output_tokens"] for body in vendor.bodies] == [90_000, 4096, 100]


async def test_a_conversation_is_made_shorter_by_the_vendor_and_given_back_as_it_came(vendor):
    vendor.will(says("they spoke of tea"), says("Tea."))
    async with provider_of(vendor, wire="responses", compacts=True) as model:
        told = (ChatMessage(role="user", content="tea?"), ChatMessage(role="assistant", content="tea."))
        shorter = await answer(model, replace(asking("more?", *told, model="gpt-5"), compact=True))
        stands = ChatMessage(role="assistant", content=shorter.content, raw=shorter.raw)
        said = await answer(model, asking("what was it?", stands, model="gpt-5"))

    assert shorter.content == "User: tea?\nUser: more?"
    assert vendor.bodies[0].keys() == {"model", "input"}
    assert [item["type"] for item in vendor.bodies[1]["input"]] == ["message", "message", "compaction", "message"]
    assert vendor.bodies[1]["input"][2]["encrypted_content"]
    assert said.content == "Tea."


async def test_for_another_model_it_is_what_can_be_read(vendor):
    vendor.will(says("sealed"), says("fine"))
    async with provider_of(vendor, wire="responses", compacts=True) as model:
        shorter = await answer(model, replace(asking("tea?", model="gpt-5"), compact=True))
        stands = ChatMessage(role="assistant", content=shorter.content, raw=shorter.raw)
        await answer(model, asking("what was it?", stands, model="gpt-4o"))

    assert vendor.bodies[1]["input"][0]["content"] == [{"type": "output_text", "text": "User: tea?"}]
