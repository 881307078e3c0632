"""What comes out of a reader, and what must hold of it whatever went in."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import msgspec

from goclaw.domain.chat import ChatMessage, ChatRequest, ChatResponse, StreamChunk
from goclaw.domain.errors import ProviderError
from goclaw.providers.reader import AnswerReader
from goclaw.providers.wire import Learned
from tests.fuzz.tongues import Tongue

Outcome = tuple[list[StreamChunk], ChatResponse | ProviderError]
MOST = 2**31  # tokens; what is counted must fit into tables
STACK = 300  # frames below whoever uses an answer


def read(tongue: Tongue, parts: Iterable[bytes]) -> Outcome:
    reader = AnswerReader(tongue.wire.assemble(), "text/plain")
    chunks = [chunk for part in parts for chunk in reader.feed(part)]
    rest, end = reader.finish()
    return [*chunks, *rest], end


def comparable(outcome: Outcome) -> tuple[object, ...]:
    chunks, end = outcome
    return *chunks, (end.kind, end.message) if isinstance(end, ProviderError) else end


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:stop] for start, stop in pairwise(edges)]


def check(tongue: Tongue, outcome: Outcome) -> None:
    """An end that the rest of the house can live with."""
    chunks, end = outcome
    if isinstance(end, ProviderError):
        assert "\n" not in end.message
        assert 0 < len(end.message) <= 400
        return
    assert "".join(chunk.content for chunk in chunks) == end.content
    assert "".join(chunk.thinking for chunk in chunks) == end.thinking
    usage = end.usage
    assert all(0 <= n < MOST for n in msgspec.structs.astuple(usage) if not isinstance(n, bool))
    assert all(call.name and call.id for call in end.tool_calls)
    deep(STACK, tongue, end)


def deep(frames: int, tongue: Tongue, end: ChatResponse) -> None:
    """Store the answer and give it back to the model, from far down the stack."""
    if frames:
        return deep(frames - 1, tongue, end)
    assert msgspec.json.decode(msgspec.json.encode(end), type=ChatResponse) == end
    said = ChatMessage(role="assistant", content=end.content, tool_calls=end.tool_calls, raw=end.raw)
    results = [ChatMessage(role="tool", content="x", tool_call_id=call.id) for call in end.tool_calls]
    question = ChatMessage(role="user", content="x")
    for model in ("some-model", "m"):
        ask = ChatRequest(messages=(question, said, *results, question), model=model)
        assert tongue.wire.write(ask, tongue.vendor, Learned()).body
