"""The wires, as garbage needs them: events into which anything can be put, and good streams as the farm makes them.

Values are JSON as bytes, valid or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from goclaw.providers.catalogue import BY_NAME, Vendor
from goclaw.providers.wire import Wire
from goclaw.providers.wires import anthropic, chat, responses
from tests.fakes.vendors.anthropic import Messages
from tests.fakes.vendors.brain import Ask
from tests.fakes.vendors.dialects import DeepSeek
from tests.fakes.vendors.openai_responses import Responses
from tests.fakes.vendors.script import Call, Redacted, Say, Think, answer
from tests.fakes.vendors.vendor import Wire as FakeWire
from tests.fakes.vendors.vendor import encode

TEXT = b'"text"'
SAID = (  # what every wire can say
    answer("hello there, this is a test ", "of thrée"),
    answer(Think("let me see, \U0001f375"), "I saw"),
    answer(Call("look", {"wörd": "x\n", "n": [1, {"deep": 2}]})),
    answer(Think("hm"), "calling", Call("look", {"a": 1}), Call("list", {}), Call("look", '{"broken'), interleave=True),
    answer(Redacted("secret"), Say("on my way", phase="commentary"), Say("there", phase="final_answer")),
    answer("cut in the mid", finish="length"),
)


class Tongue(Struct, frozen=True, kw_only=True):
    """Every member that is a function makes events, without the `data:`."""

    name: str
    wire: Wire
    vendor: Vendor
    fake: FakeWire
    body: dict[str, Any]  # of the request that the farm believes to answer
    start: tuple[bytes, ...]  # an answer that has said `hello `
    end: tuple[bytes, ...]
    text: Callable[[bytes], tuple[bytes, ...]]
    call: Callable[[bytes, bytes, bytes, bytes], tuple[bytes, ...]]  # index, id, name, arguments
    usage: Callable[[bytes], tuple[bytes, ...]]
    error: Callable[[bytes], tuple[bytes, ...]]
    finish: Callable[[bytes], tuple[bytes, ...]]
    whole: Callable[[bytes], bytes]  # an answer in one document

    def good(self) -> list[bytes]:
        """Streams and documents that are answers."""
        ask = Ask(model="some-model", stream=True, text="", body=self.body, id="0")
        streams = [b"".join(self.fake.events(said, ask)) for said in SAID]
        return [*streams, *(encode(self.fake.whole(said, ask)) for said in SAID)]

    def vendor_at(self, url: str) -> Vendor:
        return replace(self.vendor, base_url=url)


def sse(documents: Iterable[bytes]) -> bytes:
    return b"".join(b"data: %s\n\n" % document for document in documents)


def one(template: bytes) -> Callable[[bytes], tuple[bytes, ...]]:
    return lambda value: (template % value,)


def chat_call(index: bytes, id: bytes, name: bytes, arguments: bytes) -> tuple[bytes, ...]:
    opening = b'{"index":%s,"id":%s,"type":"function","function":{"name":%s,"arguments":""}}' % (index, id, name)
    rest = b'{"index":%s,"function":{"arguments":%s}}' % (index, arguments)
    return tuple(b'{"choices":[{"delta":{"tool_calls":[%s]}}]}' % piece for piece in (opening, rest))


def anthropic_call(index: bytes, id: bytes, name: bytes, arguments: bytes) -> tuple[bytes, ...]:
    block = b'{"type":"tool_use","id":%s,"name":%s,"input":{}}' % (id, name)
    delta = b'{"type":"input_json_delta","partial_json":%s}' % arguments
    return (
        b'{"type":"content_block_start","index":%s,"content_block":%s}' % (index, block),
        b'{"type":"content_block_delta","index":%s,"delta":%s}' % (index, delta),
        b'{"type":"content_block_stop","index":%s}' % index,
    )


def responses_call(index: bytes, id: bytes, name: bytes, arguments: bytes) -> tuple[bytes, ...]:
    item = b'{"type":"function_call","id":%s,"call_id":%s,"name":%s,"arguments":""}' % (id, id, name)
    return (
        b'{"type":"response.output_item.added","output_index":%s,"item":%s}' % (index, item),
        b'{"type":"response.function_call_arguments.delta","item_id":%s,"output_index":%s,"delta":%s}'
        % (id, index, arguments),
    )


TONGUES = (
    Tongue(
        name="chat",
        wire=chat.WIRE,
        vendor=Vendor("acme"),
        fake=DeepSeek(),
        body={},
        start=(b'{"choices":[{"index":0,"delta":{"role":"assistant","content":"hello "}}]}',),
        end=(b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}', b"[DONE]"),
        text=one(b'{"choices":[{"index":0,"delta":{"content":%s}}]}'),
        call=chat_call,
        usage=one(b'{"choices":[],"usage":{"prompt_tokens":%s,"completion_tokens":3,"cost":1e400}}'),
        error=one(b'{"error":%s}'),
        finish=one(b'{"choices":[{"index":0,"delta":{},"finish_reason":%s}]}'),
        whole=lambda text: b'{"choices":[{"message":{"content":%s},"finish_reason":"stop"}]}' % text,
    ),
    Tongue(
        name="anthropic",
        wire=anthropic.WIRE,
        vendor=BY_NAME["anthropic"],
        fake=Messages(),
        body={"messages": [{"role": "user", "content": "x"}], "model": "some-model"},
        start=(
            b'{"type":"message_start","message":{"model":"some-model","usage":{"input_tokens":5,"output_tokens":1}}}',
            b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}',
            b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hello "}}',
        ),
        end=(
            b'{"type":"content_block_stop","index":0}',
            b'{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":3}}',
            b'{"type":"message_stop"}',
        ),
        text=one(b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":%s}}'),
        call=anthropic_call,
        usage=one(b'{"type":"message_delta","delta":{},"usage":{"input_tokens":%s}}'),
        error=one(b'{"type":"error","error":%s}'),
        finish=one(b'{"type":"message_delta","delta":{"stop_reason":%s}}'),
        whole=lambda text: (
            b'{"type":"message","model":"m","content":[{"type":"text","text":%s}],"stop_reason":"end_turn"}' % text
        ),
    ),
    Tongue(
        name="responses",
        wire=responses.WIRE,
        vendor=Vendor("acme", default_model="m", wire="responses"),
        fake=Responses(),
        body={"reasoning": {"summary": "auto"}, "include": ["reasoning.encrypted_content"]},
        start=(
            b'{"type":"response.created","response":{"model":"some-model","output":[]}}',
            b'{"type":"response.output_item.added","output_index":0,"item":{"type":"message","id":"i0"}}',
            b'{"type":"response.output_text.delta","item_id":"i0","output_index":0,"delta":"hello "}',
        ),
        end=(b'{"type":"response.completed","response":{"status":"completed","output":[]}}',),
        text=one(b'{"type":"response.output_text.delta","item_id":"i0","output_index":0,"delta":%s}'),
        call=responses_call,
        usage=one(b'{"type":"response.completed","response":{"status":"completed","usage":{"input_tokens":%s}}}'),
        error=one(b'{"type":"response.failed","response":{"status":"failed","error":%s}}'),
        finish=one(b'{"type":"response.completed","response":{"status":%s}}'),
        whole=lambda text: (
            b'{"status":"completed","output":[{"type":"message","id":"i","content":[{"type":"output_text","text":%s}]}]}'
            % text
        ),
    ),
)
