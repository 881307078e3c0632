"""Every vendor of the table against its fake, in its own dialect. Contract: providers.md §2, §6, PR-13 to PR-39."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
import trio
from msgspec.structs import replace

from goclaw.domain.chat import ChatMessage, ChatOptions, Image, ToolCall
from goclaw.domain.errors import ProviderError
from goclaw.domain.model import Retrying
from goclaw.providers.catalogue import CATALOGUE
from tests.fakes.http1 import END, HEAD, chunked
from tests.fakes.vendors.dialects import tool_use_failed
from tests.fakes.vendors.script import Call, Refuse, Think, Trouble, Usage
from tests.fakes.vendors.script import answer as says
from tests.providers.asking import LOOK_UP, answer, asking, going_on, provider_of

NOT_HERE = {"offline", "chatgpt_oauth", "acp", "claude_cli"}  # no HTTP, or a test of their own
EVERYBODY = [row.name for row in CATALOGUE if row.name not in NOT_HERE]
MODELS = {"yescale": "gpt-4o", "ollama_cloud": "gpt-oss:120b", "gemini": "gemini-2.5-flash"}
SETTING = ChatOptions(temperature=0.5, top_p=0.9, max_tokens=500, seed=7, reasoning_effort="high")


def model_of(name: str) -> str:
    return MODELS.get(name, "")


@pytest.mark.parametrize("name", EVERYBODY)
async def test_it_answers(farm, name):
    async with provider_of(farm[name]) as model:
        said = await answer(model, asking(model=model_of(name)))

    assert (said.content, said.finish_reason, said.provider) == ("echo hello there", "stop", name)
    assert said.usage.completion_tokens > 0
    assert said.usage.estimated == (name == "cohere")  # which counts only whole answers


@pytest.mark.parametrize("name", EVERYBODY)
async def test_it_calls_a_tool_and_reads_its_result(farm, name):
    """Each fake refuses whatever its vendor would: ids, order of roles, parameters, thoughts that are missing."""
    prompt = ChatMessage(role="system", content="Be kind.")
    async with provider_of(farm[name]) as model:
        if name == "perplexity":  # it has no tools: they are told in words, and it answers in words
            farm[name].will(says('<tool_call>{"name": "look_up", "arguments": {"word": "tea"}}</tool_call>'))
            farm[name].will(says("the tool said: a drink"))
        ask = asking('!tool {"word": "tea"}', prompt, model=model_of(name), tools=(LOOK_UP,), options=SETTING)
        first = await answer(model, ask)
        second = await answer(model, going_on(ask, first, "a drink"))

    assert [(call.name, call.arguments) for call in first.tool_calls] == [("look_up", {"word": "tea"})]
    assert first.finish_reason == "tool_calls"
    assert "a drink" in second.content


@pytest.mark.parametrize("name", EVERYBODY)
async def test_what_was_said_while_a_tool_ran_follows_its_result(farm, name):
    async with provider_of(farm[name]) as model:
        call = ToolCall(id="call_abc", name="look_up", arguments={"word": "tea"})
        before = (
            ChatMessage(role="user", content="what is tea?"),
            ChatMessage(role="user", content="quick!"),
            ChatMessage(role="assistant", content="", tool_calls=(call,)),
            ChatMessage(role="tool", content="a drink", tool_call_id="call_abc", tool_name="look_up"),
        )
        said = await answer(model, asking("and milk?", *before, model=model_of(name), tools=(LOOK_UP,)))

    assert said.content


@pytest.mark.parametrize(
    ("status", "kind"), [(401, "auth"), (402, "billing"), (429, "rate_limit"), (500, "server_error")]
)
@pytest.mark.parametrize("name", EVERYBODY)
async def test_its_refusals_have_their_class(farm, name, status, kind, autojump_clock):
    autojump_clock.autojump_threshold = 0.02
    farm[name].will(*[Refuse(status)] * 3)
    async with provider_of(farm[name], "a-very-secret-key") as model:
        with pytest.raises(ProviderError) as caught:
            await answer(model, asking(model=model_of(name)))

    assert caught.value.kind == kind
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("name", EVERYBODY)
async def test_a_stream_that_breaks_is_no_answer(farm, name):
    farm[name].will(says("half an answer that goes no further", trouble=Trouble("close", after=6)))
    async with provider_of(farm[name]) as model:
        with pytest.raises(ProviderError, match="stream_interrupted"):
            await answer(model, asking(model=model_of(name)))


@pytest.mark.parametrize("name", [name for name in EVERYBODY if name not in ("minimax",)])
async def test_it_lists_its_models(farm, name):
    async with provider_of(farm[name]) as model:
        assert await model.models()


async def test_a_list_of_models_is_believed_for_a_while(farm, autojump_clock):
    autojump_clock.autojump_threshold = 0.02
    async with provider_of(farm["openai"]) as model:
        first = await model.models()
        assert await model.models() == first
        assert len(farm["openai"].heard) == 1
        await model.models(fresh=True)
        await trio.sleep(601)
        await model.models()

    assert len(farm["openai"].heard) == 3


async def test_what_an_answer_cost_is_taken_from_who_says_it(farm):
    farm["openrouter"].will(says("tea", usage=Usage(input=10, output=5, cost=0.0125)))
    async with provider_of(farm["openrouter"]) as model:
        said = await answer(model, asking())

    assert said.vendor_cost == Decimal("0.0125")


async def test_who_cannot_stream_with_tools_is_asked_for_all_at_once_and_still_heard_in_pieces(farm):
    """PR-24."""
    farm["dashscope"].will(says(Think("hm"), "let me look", Call("look_up", {"word": "tea"})))
    async with provider_of(farm["dashscope"]) as model, model.stream(asking(tools=(LOOK_UP,))) as chunks:
        got = [chunk async for chunk in chunks]

    assert [body["stream"] for body in farm["dashscope"].bodies] == [False]
    assert "".join(chunk.content for chunk in got) == "let me look"
    assert got[-1].done is not None
    assert got[-1].done.tool_calls[0].arguments == {"word": "tea"}


async def test_the_order_of_providers_is_passed_on(farm):
    async with provider_of(farm["openrouter"], extra={"provider": {"order": ["Acme"]}}) as model:
        await answer(model, asking())

    assert farm["openrouter"].bodies[-1]["provider"] == {"order": ["Acme"]}


async def test_signatures_of_thoughts_go_back_with_their_calls(farm):
    async with provider_of(farm["gemini"]) as model:
        ask = asking('!tool {"word": "tea"}', model="gemini-3-pro-preview", tools=(LOOK_UP,))
        first = await answer(model, ask)
        second = await answer(model, going_on(ask, first, "a drink"))

    assert isinstance(first.tool_calls[0].signature, str)
    assert "a drink" in second.content


async def test_calls_of_another_model_are_told_in_words(farm):
    call = ToolCall(id="c1", name="look_up", arguments={"word": "tea"})
    before = (
        ChatMessage(role="user", content="what is tea?"),
        ChatMessage(role="assistant", content="", tool_calls=(call,)),
        ChatMessage(role="tool", content="a drink", tool_call_id="c1", tool_name="look_up"),
    )
    async with provider_of(farm["gemini"]) as model:
        await answer(model, asking("and milk?", *before, model="gemini-3-pro-preview", tools=(LOOK_UP,)))

    sent = farm["gemini"].bodies[-1]["messages"]
    assert not any(message.get("tool_calls") for message in sent)
    assert any("look_up: a drink" in message["content"] for message in sent)


async def test_a_call_that_was_written_badly_is_tried_cooler(farm):
    async with provider_of(farm["groq"]) as model:
        ask = asking("!badly look_up", tools=(LOOK_UP,), options=ChatOptions(temperature=0.8))
        said = await answer(model, ask)

    assert said.tool_calls[0].name == "look_up"
    assert [body.get("temperature") for body in farm["groq"].bodies] == [0.8, 0]


GENERATIONS = [
    '<function=look_up>{"word": "tea"}</function>',
    '{"name": "look_up", "arguments": {"word": "tea"}}',
    '<tool_call>[{"name": "look_up", "parameters": {"word": "tea"}}]</tool_call>',
]


@pytest.mark.parametrize("written", GENERATIONS)
@pytest.mark.parametrize("where", ["refused", "in the stream"])
async def test_a_call_that_is_written_badly_again_is_read_from_what_was_written(farm, written, where):
    if where == "refused":
        farm["groq"].will(tool_use_failed(written), tool_use_failed(written))
    else:
        error = msgspec.json.encode(farm["groq"].wire.refusal(tool_use_failed(written)))
        farm["groq"].will(says("", trouble=Trouble("raw", data=HEAD + chunked(b"data: %s\n\n" % error) + END)))
    async with provider_of(farm["groq"]) as model:
        said = await answer(model, asking(tools=(LOOK_UP,), options=ChatOptions(temperature=0.8)))

    assert [(call.name, call.arguments) for call in said.tool_calls] == [("look_up", {"word": "tea"})]
    assert (said.content, said.finish_reason, said.usage.estimated) == ("", "tool_calls", True)
    assert farm["groq"].unsaid == 0


async def test_what_was_written_badly_and_is_no_call_stays_a_refusal(farm):
    farm["groq"].will(tool_use_failed("<function=other>{}"), tool_use_failed("<function=other>{}"))
    async with provider_of(farm["groq"]) as model:
        with pytest.raises(ProviderError, match=r"^groq: API error \(400\): Failed to call a function") as caught:
            await answer(model, asking(tools=(LOOK_UP,)))

    assert caught.value.kind == "format"


@pytest.mark.parametrize(("name", "takes"), [("llama3.3", True), ("gemma3:27b", False)])
async def test_a_model_is_asked_whether_it_takes_tools(farm, name, takes):
    if not takes:
        farm["ollama"].will(says('<tool_call>{"name": "look_up", "arguments": {"word": "tea"}}</tool_call>'))
    async with provider_of(farm["ollama"]) as model:
        ask = asking('!tool {"word": "tea"}', model=name, tools=(LOOK_UP,))
        said = await answer(model, ask)
        await answer(model, ask)

    assert said.tool_calls[0].arguments == {"word": "tea"}
    paths = [heard.path for heard in farm["ollama"].heard]
    assert sum(path.endswith("/api/show") for path in paths) == 1
    asked = [body for body in farm["ollama"].bodies if "messages" in body]
    assert ["tools" in body for body in asked] == [takes, takes]


@pytest.mark.parametrize(
    ("name", "model_name", "effort", "sent"),
    [
        ("openai", "gpt-5", "high", {"reasoning_effort": "high"}),
        ("openai", "o4-mini", "minimal", {"reasoning_effort": "low"}),
        ("openai", "gpt-4o", "high", {}),
        ("gemini", "gemini-2.5-flash", "medium", {"reasoning_effort": "high"}),
        ("dashscope", "qwen3-max", "medium", {"enable_thinking": True, "thinking_budget": 16_384}),
        ("openrouter", "openai/gpt-5", "low", {"reasoning": {"effort": "low"}}),
        ("mistral", "mistral-large-latest", "high", {}),
    ],
)
async def test_effort_in_the_words_of_each_vendor(farm, name, model_name, effort, sent):
    """PR-19: what the vendor has no words for is left out, and that is said."""
    async with provider_of(farm[name]) as model:
        said = await answer(model, asking(model=model_name, options=ChatOptions(reasoning_effort=effort)))

    body = farm[name].bodies[-1]
    words = ("reasoning_effort", "enable_thinking", "thinking_budget", "reasoning")
    assert {word: body[word] for word in words if word in body} == sent
    assert said.reasoning is not None
    assert bool(said.reasoning.effective) == bool(sent)
    assert bool(said.reasoning.reason) != bool(sent)


async def test_o_series(farm):
    """PR-21."""
    async with provider_of(farm["openai"]) as model:
        await answer(model, asking(model="o4-mini", options=ChatOptions(temperature=0.5, max_tokens=99)))

    body = farm["openai"].bodies[-1]
    assert (body["max_completion_tokens"], "temperature" in body, "max_tokens" in body) == (99, False, False)


@pytest.mark.parametrize(
    "what",
    [
        "max_tokens is too large: 90000. This model supports at most 4096 completion tokens.",
        "Invalid max_tokens value, the valid range of max_tokens is [1, 4096]",
    ],
)
async def test_too_long_an_answer_is_asked_for_once(farm, what):
    """PR-38."""
    no = Refuse(400, what)
    farm["groq"].will(no)
    async with provider_of(farm["groq"]) as model:
        ask = asking(options=ChatOptions(max_tokens=90_000))
        await answer(model, ask)
        await answer(model, ask)

    assert [body["max_tokens"] for body in farm["groq"].bodies] == [90_000, 4096, 4096]


async def test_a_refused_parameter_is_left_out_from_then_on(farm):
    async with provider_of(farm["cohere"]) as model:
        await answer(model, asking())
        await answer(model, asking())

    assert ["stream_options" in body for body in farm["cohere"].bodies] == [True, False, False]


async def test_a_picture_is_seen(farm):
    seen = ChatMessage(role="user", content="what is it?", images=(Image("image/png", "iVBORw0KGgo="),))
    async with provider_of(farm["openai"]) as model:
        await answer(model, replace(asking(), messages=(seen,)))

    parts = farm["openai"].bodies[-1]["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url"]


async def test_thoughts_are_heard_apart_from_the_answer(farm):
    farm["deepseek"].will(says(Think("tea is hot"), "it is tea"))
    async with provider_of(farm["deepseek"]) as model:
        said = await answer(model, asking(model="deepseek-reasoner"))

    assert (said.thinking, said.content) == ("tea is hot", "it is tea")


async def test_calls_that_alternate_with_gaps_come_in_their_order(farm):
    """PR-06."""
    calls = Call("look_up", {"word": "b"}, index=3), Call("look_up", {"word": "a"}, index=1)
    farm["openai"].will(says(*calls))
    async with provider_of(farm["openai"]) as model:
        said = await answer(model, asking(tools=(LOOK_UP,)))

    assert [call.arguments["word"] for call in said.tool_calls] == ["a", "b"]


async def test_a_second_try_waits_as_long_as_it_was_asked_to(farm, autojump_clock):
    """PR-09."""
    autojump_clock.autojump_threshold = 0.02
    farm["openai"].will(Refuse(429, retry_after=2))
    notes: list[object] = []
    async with provider_of(farm["openai"]) as model:
        began = trio.current_time()
        await answer(model, asking(), tell=notes.append)

    assert trio.current_time() - began >= 2
    assert isinstance(notes[0], Retrying)


async def test_another_key_is_another_call(farm):
    async with provider_of(farm["openai"], "first", "second") as model:
        await answer(model, asking(), slot=1)
        assert model.slots == 2

    assert farm["openai"].heard[-1].key == "second"


async def test_as_many_are_asked_at_once_as_the_door_lets_in(farm):
    vendor, heard = farm["openai"], []
    vendor.will(*(says("half an answer", trouble=Trouble("hold", after=2)) for _ in range(70)))
    started = trio.Event()

    async def ask(model):
        async with model.stream(asking()) as chunks:
            heard.append(await anext(chunks))
            if len(heard) == 70:
                started.set()
            await trio.sleep_forever()

    async with provider_of(vendor, at_once=70) as model, trio.open_nursery() as nursery:
        for _ in range(70):
            nursery.start_soon(ask, model)
        with trio.fail_after(10):
            await started.wait()
        nursery.cancel_scope.cancel()


async def test_no_part_of_a_key_is_told_either(farm):
    key = "AIza" + "x" * 40
    farm["openai"].will(Refuse(401, "y" * 260 + " " + key))
    async with provider_of(farm["openai"], key) as model:
        with pytest.raises(ProviderError) as caught:
            await answer(model, asking())

    assert "AIza" not in caught.value.message
