"""The OpenAI client against a vendor on a real socket. Contract: providers.md §5, §8, §14, PR-09, PR-12, PR-17."""

from __future__ import annotations

import gc
import gzip
from http.cookiejar import Cookie

import pytest
import trio
from trio.testing import MockClock

from goclaw.domain.chat import ChatMessage, ChatOptions, ChatRequest, ChatResponse, ToolSpec
from goclaw.domain.errors import ProviderError
from goclaw.providers.catalogue import Vendor
from goclaw.providers.provider import Provider, open_provider
from tests.fakes.http1 import END, HEAD, chunked, whole
from tests.fakes.vendor import Answer, FakeVendor, completion, events, fake_vendor

LOOK_UP = ToolSpec(
    name="look_up",
    description="finds a word",
    parameters={"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
)


@pytest.fixture
async def vendor():
    async with fake_vendor() as vendor:
        yield vendor


@pytest.fixture
async def model(vendor):
    provider = open_provider(Vendor("acme", default_model="echo"), keys=("sk-very-secret-key",), base_url=vendor.url)
    yield provider
    await provider.aclose()


@pytest.fixture
def virtual_time():
    """A clock that jumps when nothing has happened for a while, so that waiting costs no time but sockets may talk."""
    return MockClock(autojump_threshold=0.01)


def asking(model: str, text: str = "hello there", **more: object) -> ChatRequest:
    return ChatRequest(messages=(ChatMessage(role="user", content=text),), model=model, **more)


async def answer(model: Provider, ask: ChatRequest) -> tuple[list[str], ChatResponse]:
    async with model.stream(ask) as chunks:
        got = [chunk async for chunk in chunks]
    assert got[-1].done is not None
    return [chunk.content for chunk in got[:-1]], got[-1].done


async def failure(model: Provider, ask: ChatRequest) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await answer(model, ask)
    assert "very-secret" not in caught.value.message
    assert "\n" not in caught.value.message
    return caught.value


async def test_an_answer_comes_in_the_vendors_pieces_with_the_vendors_count(model):
    pieces, done = await answer(model, asking("echo"))

    assert pieces == ["echo ", "hello ", "there"]
    assert done.content == "echo hello there"
    assert (done.usage.prompt_tokens, done.usage.completion_tokens, done.usage.cache_read_tokens) == (10, 3, 4)
    assert not done.usage.estimated


async def test_a_tool_is_called_and_its_result_is_answered(model):
    _, called = await answer(model, asking("tool", tools=(LOOK_UP,)))
    (call,) = called.tool_calls
    assert (call.name, call.arguments, called.finish_reason) == ("look_up", {"word": "hello there"}, "tool_calls")

    ask = asking("tool", tools=(LOOK_UP,))
    messages = (
        *ask.messages,
        ChatMessage(role="assistant", tool_calls=(call,)),
        ChatMessage(role="tool", content="a greeting", tool_call_id=call.id, tool_name=call.name),
    )
    _, done = await answer(model, ChatRequest(messages=messages, model="tool", tools=(LOOK_UP,)))
    assert done.content == "the tool said: a greeting"


async def test_a_call_written_into_the_text_is_a_call_when_tools_were_offered(model):
    written = '<tool_call>{"name": "look_up", "arguments": {"word": "x"}}</tool_call>'
    _, called = await answer(model, asking("echo", written, tools=(LOOK_UP,)))
    _, said = await answer(model, asking("echo", written))

    assert [(call.name, call.arguments) for call in called.tool_calls] == [("look_up", {"word": "x"})]
    assert (called.content, called.finish_reason) == ("echo", "tool_calls")
    assert said.tool_calls == ()


async def test_the_models_are_listed(model):
    assert "echo" in await model.models()


async def test_many_turns_share_one_connection(model, vendor):
    for _ in range(20):
        await answer(model, asking("echo"))

    assert vendor.accepted == 1


@pytest.mark.parametrize("body", [b"<html>", b'{"data": 3}', b"[" * 100_000, b""])
async def test_a_list_of_models_that_is_none_is_a_bad_answer(model, vendor, body):
    vendor.listing = body

    with pytest.raises(ProviderError) as caught:
        await model.models()
    assert caught.value.kind == "server_error"


async def test_leaving_early_closes_the_connection(model, vendor):
    async with model.stream(asking("slow-1000cps")) as chunks:
        await anext(chunks)

    await vendor.until(lambda vendor: vendor.connections == 0)


async def test_a_cancelled_turn_closes_the_connection(model, vendor):
    with trio.CancelScope() as turn:
        async with model.stream(asking("slow-1000cps")) as chunks:
            async for _ in chunks:
                turn.cancel()

    assert turn.cancelled_caught
    await vendor.until(lambda vendor: vendor.connections == 0)


async def test_an_answer_that_is_json_or_has_no_done_is_accepted(model):
    assert (await answer(model, asking("fault-json")))[1].content == "all of it"
    assert (await answer(model, asking("fault-nodone")))[1].content == "all of it"


async def test_usage_is_estimated_when_the_vendor_does_not_count(model):
    _, done = await answer(model, asking("fault-nodone"))

    assert done.usage.estimated
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (7, 3)


@pytest.mark.parametrize(
    ("name", "kind", "status", "words"),
    [
        ("fault-401", "auth", 401, "the fake vendor says 401"),
        ("fault-402", "billing", 402, "402"),
        ("fault-404", "model_not_found", 404, "404"),
        ("fault-filter", "content_policy", None, "content filter"),
        ("fault-redirect", "format", 307, "elsewhere.example"),
    ],
)
async def test_a_refusal_that_will_not_change_is_not_asked_again(model, vendor, name, kind, status, words):
    error = await failure(model, asking(name))

    assert (error.kind, error.status) == (kind, status)
    assert words in error.message
    assert vendor.calls[name] == 1


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("fault-429", "rate_limit", "429"),
        ("fault-500", "server_error", "500"),
        ("fault-529", "overloaded", "529"),
        ("fault-504", "timeout", "504"),
        ("fault-html", "server_error", "(200, text/html): non-JSON response: Bad gateway"),
        ("fault-html-502", "server_error", "(502, text/html): non-JSON response: Bad gateway"),
        ("fault-garbage", "server_error", "unreadable chunks"),
        ("fault-error-chunk", "overloaded", "overloaded"),
        ("fault-empty", "server_error", "empty answer"),
        ("fault-close", "server_error", "stream_interrupted"),
        ("fault-not-http", "server_error", "stream_interrupted"),
    ],
)
async def test_a_failure_before_the_first_word_is_tried_three_times(virtual_time, model, vendor, name, kind, words):
    error = await failure(model, asking(name))

    assert error.kind == kind
    assert words in error.message
    assert vendor.calls[name] == 3


@pytest.mark.parametrize(("name", "words"), [("fault-midclose", "stream_interrupted"), ("fault-error-late", "memory")])
async def test_a_failure_after_the_first_word_is_final(model, vendor, name, words):
    heard = []

    async def listen() -> None:
        async with model.stream(asking(name)) as chunks:
            async for chunk in chunks:
                heard.append(chunk.content)

    with pytest.raises(ProviderError, match=words):
        await listen()
    assert heard == ["half an "]
    assert vendor.calls[name] == 1


async def test_a_vendor_that_recovers_is_waited_for_as_long_as_it_asked(virtual_time, model, vendor):
    began = trio.current_time()
    _, done = await answer(model, asking("flaky-429-2"))

    assert done.content == "echo hello there"
    assert vendor.calls["flaky-429-2"] == 3
    assert 2.0 <= trio.current_time() - began < 3.0  # twice `Retry-After: 1`


async def test_a_vendor_that_never_answers_is_given_up_after_the_timeout_of_the_call(virtual_time, model, vendor):
    began = trio.current_time()
    error = await failure(model, asking("fault-hang"))

    assert (error.kind, error.message) == ("timeout", "acme: no answer within 300 s")
    assert vendor.calls["fault-hang"] == 1
    assert trio.current_time() - began == pytest.approx(300, abs=1)


async def test_a_vendor_that_falls_silent_is_given_up_sooner(virtual_time, model):
    began = trio.current_time()
    error = await failure(model, asking("fault-hang-mid"))

    assert (error.kind, error.message) == ("timeout", "acme: silent for 120 s in mid-answer")
    assert trio.current_time() - began == pytest.approx(120, abs=1)


async def test_nobody_listening_is_a_network_failure(virtual_time):
    async with fake_vendor() as gone:
        pass
    model = open_provider(Vendor("acme"), base_url=gone.url)

    error = await failure(model, asking("echo"))
    assert error.kind == "server_error"
    assert error.message.startswith("acme: cannot connect")
    await model.aclose()


@pytest.mark.parametrize("url", ["", "no-scheme", "ftp://127.0.0.1/v1", "http://[::1"])
async def test_an_address_that_is_none_is_a_bad_request(url):
    model = open_provider(Vendor("acme", base_url=url))

    assert (await failure(model, asking("echo"))).kind == "format"
    await model.aclose()


async def test_a_key_that_the_vendor_repeats_is_not_shown(vendor):
    model = open_provider(Vendor("acme"), keys=("bad-key",), base_url=vendor.url)
    with pytest.raises(ProviderError) as caught:
        await model.models()

    assert caught.value.kind == "auth"
    assert "bad-key" not in caught.value.message
    assert "***" in caught.value.message
    await model.aclose()


async def test_a_key_too_short_to_be_one_is_not_looked_for_in_words(vendor):
    model = open_provider(Vendor("acme"), keys=("bad-key", "e"), base_url=vendor.url)
    with pytest.raises(ProviderError) as caught:
        await model.models()

    assert "Incorrect API key provided" in caught.value.message
    await model.aclose()


@pytest.mark.parametrize("key", ["line\nbreak", "schlüssel"])
async def test_a_key_that_cannot_be_a_key_is_an_auth_failure(key):
    with pytest.raises(ProviderError) as caught:
        open_provider(Vendor("acme"), keys=(key,), base_url="http://127.0.0.1:1")

    assert caught.value.kind == "auth"
    assert key not in caught.value.message


async def test_a_parameter_the_vendor_does_not_know_is_left_out_from_then_on(model, vendor):
    ask = asking("picky-seed", options=ChatOptions(seed=7, temperature=0.5))
    for _ in range(2):
        _, done = await answer(model, ask)
        assert done.content == "echo hello there"

    assert vendor.calls["picky-seed"] == 3
    assert "seed" not in vendor.last_body
    assert vendor.last_body["temperature"] == 0.5


async def test_more_turns_than_connections_all_get_their_answer(model, vendor: FakeVendor):
    contents = []

    async def turn() -> None:
        contents.append((await answer(model, asking("echo")))[1].content)

    async with trio.open_nursery() as nursery:
        for _ in range(150):
            nursery.start_soon(turn)

    assert contents == ["echo hello there"] * 150
    assert vendor.accepted <= 64


async def test_a_vendors_cookies_are_not_kept(model, vendor):
    """They would be every tenant's, and never end."""
    cookies = "".join(f"set-cookie: c{n}=x\r\n" for n in range(50))
    vendor.faults["sticky"] = (whole(200, completion("sticky", Answer(words=("x",))), more=cookies), True)
    await answer(model, asking("sticky"))
    await answer(model, asking("echo"))

    assert "cookie" not in vendor.requests[-1][1]
    assert not any(isinstance(thing, Cookie) for thing in gc.get_objects())


async def test_a_packed_answer_is_opened(model, vendor):
    body = gzip.compress(b"".join(events("packed", Answer(words=("one ", "two")))))
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n"
    vendor.faults["packed"] = (head % len(body) + body, True)

    assert (await answer(model, asking("packed")))[0] == ["one ", "two"]


async def test_a_vendor_that_hangs_up_unread_leaves_nothing_behind(virtual_time, nursery):
    """What is left behind would be a ResourceWarning, which fails the test."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, trio.aclose_forcefully, [listener])
    url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
    provider = open_provider(Vendor("acme", default_model="echo"), base_url=url)
    error = await failure(provider, asking("echo", "x" * 4_000_000))  # more than a socket takes unread
    gc.collect()

    assert error.kind == "server_error"
    await provider.aclose()
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("room", range(240, 300, 4))
async def test_a_key_that_the_end_of_a_line_cuts_is_not_shown(vendor, room):
    key = "correct-horse-battery-staple"
    provider = open_provider(Vendor("acme", default_model="echo"), keys=(key,), base_url=vendor.url)
    error = b'data: {"error":{"code":400,"message":"%s %s"}}\n\n' % (b"x" * room, key.encode())
    vendor.faults["tells"] = (HEAD + chunked(error) + END, True)
    said = (await failure(provider, asking("tells"))).message

    assert key[:4] not in said
    await provider.aclose()
