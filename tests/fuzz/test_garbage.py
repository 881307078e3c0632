"""Whatever a vendor sends: it ends, it stays small, and only ProviderError comes out (reliability.md row 5)."""

from __future__ import annotations

import random
import time
import tracemalloc

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from goclaw.domain.chat import ChatMessage, ChatRequest, ChatResponse, ToolSpec
from goclaw.domain.errors import ProviderError
from goclaw.providers.provider import open_provider
from tests.fakes.http1 import Hangup, next_request, whole
from tests.fuzz.garbage import DOCUMENTS, EVENTS, HTTP, KEY, STREAMS, bodies, streamed
from tests.fuzz.reading import check, comparable, cut, read
from tests.fuzz.tongues import TONGUES, Tongue, sse

LAG = 0.05  # CPU seconds of the slowest hundredth; reliability.md row 5
GROWTH = 20 * 2**20  # bytes; reliability.md row 5
AT_ONCE = 20  # calls
TOOL = ToolSpec(name="look", description="", parameters={})

every_wire = pytest.mark.parametrize("tongue", TONGUES, ids=lambda tongue: tongue.name)
any_wire = st.sampled_from(TONGUES)
places = st.lists(st.integers(0, 2**20), max_size=12)


def few(tongue: Tongue) -> list[bytes]:
    """Garbage of a size that can be read a hundred times."""
    return [body for _, body in bodies(tongue) if len(body) < 30_000]


# Straight into the reader


@every_wire
def test_every_kind_of_garbage_ends_as_an_answer_or_an_error_of_one_line(tongue: Tongue):
    ends: list[bool] = []
    for name, body in bodies(tongue):
        try:
            outcome = read(tongue, [body])
            check(tongue, outcome)
        except Exception as error:
            raise AssertionError(name) from error
        ends.append(isinstance(outcome[1], ChatResponse))

    print(f"{tongue.name}: {len(ends)} bodies, {sum(ends)} of them answers after all")  # noqa: T201
    assert 0 < sum(ends) < len(ends)


@every_wire
def test_garbage_is_read_in_little_time_and_memory(tongue: Tongue):
    kinds, slow = list(bodies(tongue)), []
    read(tongue, [kinds[0][1]])
    for name, body in kinds:
        parts = [body[at : at + 2**16] for at in range(0, len(body), 2**16)]
        tracemalloc.start()
        read(tongue, parts)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < max(GROWTH, 3 * len(body)), name
        began = time.thread_time()
        read(tongue, parts)
        slow.append((time.thread_time() - began) / max(1, len(parts)))

    assert sorted(slow)[len(slow) * 99 // 100] < LAG


@given(any_wire, st.data())
@settings(max_examples=300, deadline=None)
def test_any_split_of_the_bytes_gives_the_same_chunks_and_the_same_end(tongue, data):
    body = data.draw(st.sampled_from(tongue.good() + few(tongue)))

    assert comparable(read(tongue, cut(body, data.draw(places)))) == comparable(read(tongue, [body]))


@every_wire
def test_single_bytes_of_a_good_stream_give_the_same(tongue: Tongue):
    for body in tongue.good():
        one_by_one = read(tongue, [bytes([byte]) for byte in body])

        assert comparable(one_by_one) == comparable(read(tongue, [body]))
        assert isinstance(one_by_one[1], ChatResponse)


def test_the_farm_says_the_same_on_every_wire():
    """So that what is cut and damaged here is worth it."""
    said = [[read(tongue, [body])[1] for body in tongue.good()] for tongue in TONGUES]
    for ends in zip(*said, strict=True):
        assert len({tuple((call.name, str(call.arguments)) for call in end.tool_calls) for end in ends}) == 1


@given(any_wire, st.integers(0, 2**32))
@settings(max_examples=500, deadline=None)
def test_a_damaged_answer_never_raises(tongue, seed):
    dice = random.Random(seed)
    check(tongue, read(tongue, cut(damaged(dice, tongue.good()), [dice.randrange(9999) for _ in range(3)])))


@given(any_wire, st.data())
@settings(max_examples=150, deadline=None)
def test_members_that_are_anything_never_raise(tongue, data):
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=6,
    )
    dice, body = data.draw(st.randoms(use_true_random=False)), data.draw(st.sampled_from(tongue.good()[:6]))
    events = [event.removeprefix(b"data: ") for event in body.split(b"\n") if event.startswith(b"data: {")]
    spoiled = [msgspec.json.encode(replaced(msgspec.json.decode(event), dice, data.draw(values))) for event in events]
    check(tongue, read(tongue, [sse([*spoiled, b"[DONE]"])]))


def replaced(document: object, dice: random.Random, value: object) -> object:
    """`document` with one of its members, however deep, replaced or gone."""
    if isinstance(document, dict) and document:
        name = dice.choice(sorted(document))
        if dice.random() < 0.1:
            return {key: member for key, member in document.items() if key != name}
        return {**document, name: replaced(document[name], dice, value) if dice.random() < 0.7 else value}
    if isinstance(document, list) and document:
        return [replaced(document[0], dice, value), *document[1:]]
    return value


def damaged(dice: random.Random, good: list[bytes]) -> bytes:
    """A good stream with bytes changed, and events left out, doubled, or taken from another one."""
    events = dice.choice(good).split(b"\n\n")
    for _ in range(dice.randint(0, 4)):
        at = dice.randrange(len(events))
        match dice.randrange(3):
            case 0:
                events.insert(at, events[dice.randrange(len(events))])
            case 1:
                events.insert(at, dice.choice(dice.choice(good).split(b"\n\n")))
            case _ if len(events) > 1:
                del events[at]
    data = bytearray(b"\n\n".join(events))
    for _ in range(dice.choice((0, 1, 1, 2, 20))):
        if data:
            data[dice.randrange(len(data))] = dice.randrange(256)
    return bytes(data[: dice.randint(0, len(data))] if dice.random() < 0.3 else data)


# Through the client, over a socket


class Liar:
    """Answers a request with what is planned for its model, and hangs up."""

    def __init__(self, plans: dict[str, bytes]) -> None:
        self.plans = plans

    async def serve(self, connection: trio.SocketStream) -> None:
        try:
            request = await next_request(connection, bytearray())
            if request is not None:
                plan = self.plans[msgspec.json.decode(request.body)["model"]]
                for at in range(0, len(plan), 2**16):
                    await connection.send_all(plan[at : at + 2**16])
        except (trio.BrokenResourceError, trio.ClosedResourceError, Hangup):
            pass
        finally:
            await trio.aclose_forcefully(connection)


async def ends(tongue: Tongue, plans: dict[str, bytes], nursery: trio.Nursery) -> dict[str, object]:
    """How a call of each plan ended: exactly once, or this fails."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, Liar(plans).serve, [listener])
    provider = open_provider(
        tongue.vendor, keys=(KEY,), base_url=f"http://127.0.0.1:{listener.socket.getsockname()[1]}/v1", timeout=60
    )
    ended: dict[str, object] = {}
    turns = trio.CapacityLimiter(AT_ONCE)

    async def call(name: str) -> None:
        ask = ChatRequest(messages=(ChatMessage(role="user", content="x"),), model=name, tools=(TOOL,))
        async with turns:
            try:
                async with provider.stream(ask) as chunks:
                    got = [chunk.done async for chunk in chunks]
                assert [end for end in got if end is not None] == got[-1:]
                ended[name] = got[-1]
            except ProviderError as error:
                ended[name] = error

    async with trio.open_nursery() as calls:
        for name in plans:
            calls.start_soon(call, name)
    await provider.aclose()
    nursery.cancel_scope.cancel()
    return ended


@every_wire
async def test_the_client_ends_every_call_once_and_repeats_no_key(tongue: Tongue, nursery, virtual_time):
    plans = {name: whole(200, body) if name.endswith("whole") else streamed(body) for name, body in bodies(tongue)}
    ended = await ends(tongue, plans, nursery)

    print(f"{tongue.name}: {len(ended)} calls of {len(DOCUMENTS) + len(EVENTS) + len(STREAMS)} kinds")  # noqa: T201
    assert len(ended) == len(plans)
    for name, end in ended.items():
        if isinstance(end, ProviderError):
            assert KEY[:8] not in end.message, name
            assert end.message.startswith(f"{tongue.vendor.name}: "), name


async def test_http_that_is_none_ends_too(nursery, virtual_time):
    ready = {name: make() for name, make in HTTP.items()}
    tracemalloc.start()
    ended = await ends(TONGUES[0], ready, nursery)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert [name for name, end in ended.items() if not isinstance(end, ProviderError)] == []
    assert [name for name, end in ended.items() if KEY[:8] in end.message] == []
    assert peak < GROWTH


@pytest.fixture
def virtual_time():
    return MockClock(autojump_threshold=0.01)


def test_the_corpus_has_sixty_kinds():
    assert len(DOCUMENTS) + len(EVENTS) + len(STREAMS) >= 60
    assert len(HTTP) >= 20
