"""Whatever a program prints instead of its lines: only ProviderError comes out (providers.md §7.1, §7.2, §14)."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from goclaw.domain.chat import ChatResponse
from goclaw.domain.errors import ProviderError
from goclaw.domain.model import OwnTool
from goclaw.providers.acp.updates import Told
from goclaw.providers.claude_cli.events import Events
from goclaw.providers.reader import BROKEN
from tests.fuzz.garbage import DOCUMENTS
from tests.fuzz.reading import MOST, STACK
from tests.fuzz.test_garbage import replaced
from tests.fuzz.tongues import TONGUES

RESULT = b'{"type":"result","result":"all","usage":{"input_tokens":3,"output_tokens":4},"total_cost_usd":0.01}'
CLAUDE = (
    b'{"type":"system","subtype":"init","session_id":"s"}',
    b'{"type":"assistant","message":{"content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"a"}]}}',
    b'{"type":"assistant","message":{"content":[{"type":"tool_use","id":"1","name":"Read","input":{"p":[1]}}]}}',
    b'{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"1","content":[{"text":"x"}]}]}}',
    RESULT,
)
ACP = (
    b'{"update":{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"a"}}}',
    b'{"update":{"sessionUpdate":"agent_thought_chunk","content":{"type":"text","text":"hm"}}}',
    b'{"update":{"sessionUpdate":"tool_call","toolCallId":"1","title":"Read","kind":"read","rawInput":{"p":[1]}}}',
    b'{"update":{"sessionUpdate":"tool_call_update","toolCallId":"1","status":"completed","content":'
    b'[{"type":"content","content":{"type":"text","text":"x"}},{"type":"diff","path":"a"}]}}',
    b'{"update":{"sessionUpdate":"plan","entries":[{"content":"x","status":"done"}]}}',
)
DEEP = b'{"a":' * 600 + b"1" + b"}" * 600
ODD = {
    "a count of 30 digits": RESULT.replace(b":3,", b":" + b"9" * 30 + b","),
    "a count beyond all tables": RESULT.replace(b":3,", b":" + b"9" * 19 + b","),
    "a negative count": RESULT.replace(b":3,", b":-3,"),
    "a price without end": RESULT.replace(b"0.01", b"1e400"),
    "a negative price": RESULT.replace(b"0.01", b"-5"),
    "a price that is no number": RESULT.replace(b"0.01", b'"NaN"'),
    "an error without words": b'{"type":"result","is_error":true,"errors":["","\\n"]}',
    "an error of many lines": b'{"type":"result","is_error":true,"result":"%s"}' % (b"a\\nb" * 9000),
    "input that is a bomb": CLAUDE[2].replace(b'{"p":[1]}', DEEP),
    "raw input that is a bomb": ACP[2].replace(b'{"p":[1]}', DEEP),
    "a plan of a bomb": ACP[4].replace(b'"x"', DEEP),
    "half a surrogate": ACP[0].replace(b'"a"', b'"\\ud800"'),
}
LINES = {
    **{name: make(TONGUES[0]) for name, make in DOCUMENTS.items()},
    **{str(number): line for number, line in enumerate((*CLAUDE, *ACP))},
    **ODD,
}


def of_claude(lines: list[bytes]) -> None:
    events = Events("claude")
    pieces = [piece for line in lines for piece in events.feed(line)]
    writable(STACK, pieces)
    end = finished(events)
    if isinstance(end, ProviderError):
        assert "\n" not in end.message
        assert 0 < len(end.message) <= 400
    elif end is not None:
        assert all(0 <= n < MOST for n in msgspec.structs.astuple(end.usage) if not isinstance(n, bool))
        assert end.vendor_cost is None or 0 <= end.vendor_cost < MOST
        assert msgspec.json.decode(msgspec.json.encode(end), type=ChatResponse) == end


def finished(events: Events) -> ChatResponse | ProviderError | None:
    try:
        return events.finish()
    except ProviderError as error:
        return error


def of_acp(lines: list[bytes]) -> None:
    told, pieces = Told(), []
    for line in lines:
        try:
            pieces.append(told.piece(Raw(line)))
        except BROKEN:  # the agent leaves it out
            continue
    writable(STACK, pieces)


def writable(frames: int, pieces: list[object]) -> None:
    """What is told goes to clients and into tables, from far down the stack."""
    if frames:
        return writable(frames - 1, pieces)
    for piece in pieces:
        if isinstance(piece, OwnTool):
            assert msgspec.json.decode(msgspec.json.encode(piece), type=OwnTool) == piece


@pytest.mark.parametrize("reads", [of_claude, of_acp])
@pytest.mark.parametrize("name", LINES)
def test_no_line_of_a_program_raises(reads, name: str) -> None:
    reads([LINES[name]])
    reads([*CLAUDE, LINES[name], *ACP, LINES[name], RESULT])


@given(st.integers(0, 2**32), st.data())
@settings(max_examples=150, deadline=None)
def test_members_that_are_anything_never_raise(seed: int, data: st.DataObject) -> None:
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=6,
    )
    dice = random.Random(seed)
    for lines, reads in ((CLAUDE, of_claude), (ACP, of_acp)):
        value = data.draw(values)
        reads([msgspec.json.encode(replaced(msgspec.json.decode(line), dice, value)) for line in lines])


@given(st.lists(st.sampled_from(sorted(LINES)), max_size=8), st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_damaged_lines_never_raise(names: list[str], seed: int) -> None:
    dice, lines = random.Random(seed), []
    for name in names:
        line = bytearray(LINES[name][: 2**14])
        for _ in range(dice.choice((0, 1, 3, 20)) if line else 0):
            line[dice.randrange(len(line))] = dice.randrange(256)
        lines.append(bytes(line))
    of_claude([*lines, RESULT])
    of_acp(lines)
