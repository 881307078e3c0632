"""Whatever a vendor sends: it ends, it stays small, and only ProviderError comes out."""

from __future__ import annotations

import random
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from goclaw.domain.chat import ChatMessage, ChatRequest, ChatResponse
from goclaw.domain.errors import ProviderError
from goclaw.providers.catalogue import Vendor
from goclaw.providers.provider import open_provider
from goclaw.providers.reader import AnswerReader
from goclaw.providers.wires.chat.answer import ChatAssembly
from tests.fakes.vendor import END, FAULTS, HEAD, Answer, chunked, events, fake_vendor, usage_event

DONE = b"data: [DONE]\n\n"
GOOD = [
    b"".join(events("m", Answer(words=("one ", "two ", "thrée")))) + usage_event("m", Answer(words=("1",))) + DONE,
    b"".join(events("m", Answer(call=("look", '{"wörd":"x","n":[1,2]}')))) + DONE,
    b"".join(events("m", Answer(words=("no ", "done")))),
    b'{"choices":[{"message":{"content":"whole"},"finish_reason":"stop"}]}',
]

HOSTILE = [
    b"",
    b"\n" * 5000,
    b"\x00" * 5000,
    b"\xff\xfe\xfd",
    b"\xef\xbb\xbf" + GOOD[0],
    b"data:",
    b"data: \n\n" * 50,
    b"data",
    b"dat\n\nda:",
    b"retry: 5\n\n",
    b"id:\n\nevent:\n\n",
    b":" * 10_000,
    b"data: null\n\n" + DONE,
    b'data: 1\n\ndata: []\n\ndata: "text"\n\n' + DONE,
    b"data: {}\n\n" + DONE,
    b'data: {"choices":null}\n\n' + DONE,
    b'data: {"choices":[]}\n\n' + DONE,
    b'data: {"choices":[null]}\n\n' + DONE,
    b'data: {"choices":[{"delta":null}]}\n\n' + DONE,
    b'data: {"choices":[{"delta":{"content":7}}]}\n\n' * 20,
    b'data: {"choices":[{"delta":{"content":[null,{"text":3}]}}]}\n\n' * 20,
    b'data: {"choices":[{"delta":{"tool_calls":null}}]}\n\n' + DONE,
    b'data: {"choices":[{"delta":{"tool_calls":[null]}}]}\n\n' * 12,
    b'data: {"choices":[{"delta":{"tool_calls":[{"index":-5,"function":{"name":"f"}}]}}]}\n\n' + DONE,
    b'data: {"choices":[{"delta":{"tool_calls":[{"index":1e99,"function":{"name":"f"}}]}}]}\n\n' * 12,
    b'data: {"choices":[{"delta":{"tool_calls":[{"index":99999999999999999999}]}}]}\n\n' * 12,
    b'data: {"choices":[{"delta":{"tool_calls":[{"id":"","function":{"name":"f","arguments":"{"}}]}}]}\n\n' + DONE,
    b'data: {"choices":[{"delta":{"tool_calls":[{"function":null},{"function":null}]}}]}\n\n' + DONE,
    b'data: {"usage":{"prompt_tokens":-1}}\n\n' + DONE,
    b'data: {"usage":{"prompt_tokens":"many"}}\n\n' * 12,
    b'data: {"error":null}\n\n' + DONE,
    b'data: {"error":[]}\n\n' + DONE,
    b'data: {"error":{"code":"99999999999","message":{"deep":[]}}}\n\n',
    b'data: {"error":{"code":"\xc2\xb2","message":null}}\n\n',
    b'data: {"error":' + b"[" * 3000 + b"]" * 3000 + b"}\n\n",
    b"data: " + b"[" * 100_000 + b"\n\n" + DONE,
    b"data: " + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"\n\n" + DONE,
    b'data: {"choices":[{"delta":{"content":"\\ud800"}}]}\n\n' + DONE,
    b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n' + DONE,
    b'data: {"choices":[{"delta":{"content":"x"}}]\n\n' * 12,
    b"{",
    b"[" * 100_000,
    b"{" * 100_000,
    b'{"choices":[{"message":{"content":"x"}',
    b'{"error":{"message":"no"}}',
    b"<" * 100_000,
    b"<!doctype html><script>" + b"a" * 200_000,
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"data: [DONE]\n\n" * 1000,
    b"[DONE]",
    b"\r\r\r\rdata: x\r\r",
]


@pytest.fixture
def virtual_time():
    return MockClock(autojump_threshold=0.01)


def outcome(parts: list[bytes]) -> tuple[object, ...]:
    """All that comes out of a reader, in a form that can be compared."""
    reader = AnswerReader(ChatAssembly(), "text/plain")
    chunks = [chunk for part in parts for chunk in reader.feed(part)]
    rest, answer = reader.finish()
    if isinstance(answer, ProviderError):
        return *chunks, *rest, answer.kind, answer.message
    assert isinstance(answer, ChatResponse)
    return *chunks, *rest, answer


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:stop] for start, stop in pairwise(edges)]


@given(st.sampled_from(GOOD + HOSTILE), st.lists(st.integers(0, 2**20), max_size=12))
@settings(max_examples=150, deadline=None)
def test_any_split_of_the_bytes_gives_the_same_chunks(data, places):
    assert outcome(cut(data, places)) == outcome([data])


@pytest.mark.parametrize("data", GOOD)
def test_single_bytes_give_the_same_chunks(data):
    assert outcome([bytes([byte]) for byte in data]) == outcome([data])


@pytest.mark.parametrize("data", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_stream_ends_in_an_answer_or_a_provider_error_of_one_line(data):
    *_, last = outcome([data])

    if isinstance(last, str):
        assert "\n" not in last
        assert 0 < len(last) <= 400


@given(
    st.lists(
        st.sampled_from(
            [b"data:", b" ", b"{", b"}", b"[", b"]", b'"choices"', b":", b"\n", b"\r\n", b"\xff", b"<p>", DONE]
        ),
        max_size=40,
    )
)
@settings(max_examples=150, deadline=None)
def test_bytes_without_sense_never_raise(parts):
    assert outcome(parts)


@given(st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_a_damaged_answer_never_raises(seed):
    dice = random.Random(seed)
    data = bytearray(dice.choice(GOOD + [sent for sent, _ in FAULTS.values()]))
    for _ in range(dice.randint(1, 20)):
        if data:
            data[dice.randrange(len(data))] = dice.randrange(256)

    assert outcome([bytes(data[: dice.randint(0, len(data))])])


async def test_the_client_ends_every_hostile_stream_with_an_answer_or_a_provider_error(virtual_time):
    ends = []
    async with fake_vendor() as vendor:
        model = open_provider(Vendor("acme"), base_url=vendor.url)
        for n, data in enumerate(HOSTILE):
            vendor.faults[f"hostile-{n}"] = (HEAD + b"".join(map(chunked, filter(None, [data]))) + END, True)
            ask = ChatRequest(messages=(ChatMessage(role="user", content="x"),), model=f"hostile-{n}")
            try:
                async with model.stream(ask) as chunks:
                    ends.append([chunk async for chunk in chunks][-1].done is not None)
            except ProviderError:
                ends.append(True)
        await model.aclose()

    assert ends == [True] * len(HOSTILE)


def test_the_corpus_is_large_enough_and_the_good_ones_are_good():
    assert len(HOSTILE) >= 40
    assert all(isinstance(outcome([data])[-1], ChatResponse) for data in GOOD)
    assert msgspec.json.encode(outcome([GOOD[0]])[-1])
