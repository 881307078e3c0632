"""A vendor of models on 127.0.0.1 that speaks OpenAI chat completions, and misbehaves on request.

The model's name chooses what happens:

    echo              "echo " + the last user text, a word per chunk
    fixed-20          20 chunks of one word (any number)
    slow-20cps        as fixed-20, 20 chunks per second (any number)
    tool              calls the first offered tool, then answers with its result
    fault-500         an error with that status (any); 429 carries `Retry-After: 1`
    flaky-429-2       the first 2 calls fail with that status, then it is echo
    picky-seed        refuses the parameter `seed` (any name), else echo
    fault-…           one of FAULTS below

    python -m tests.fakes.vendor --port 9999

No framework: one task per connection, answers are bytes made once. The key `bad-key` is refused.
"""

from __future__ import annotations

import argparse
import re
import socket
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from typing import Any

import msgspec
import trio
from msgspec import Struct

from tests.fakes.http1 import END, HEAD, Hangup, chunked, next_request, whole

CREATED = 1_700_000_000
MODELS = ("echo", "fixed-20", "slow-20cps", "tool")

encode = msgspec.json.encode


class Message(Struct):
    role: str
    content: Any = None


class Tool(Struct):
    function: dict[str, Any]


class StreamOptions(Struct):
    include_usage: bool = False


class Ask(Struct):
    """The part of a chat completion request that changes the answer."""

    model: str
    messages: list[Message]
    stream: bool = False
    stream_options: StreamOptions | None = None
    tools: list[Tool] = []

    @property
    def wants_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage

    def last(self, role: str) -> str:
        text = next((m.content for m in reversed(self.messages) if m.role == role), "")
        return text if isinstance(text, str) else "".join(part.get("text", "") for part in text or [])


class Answer(Struct):
    """What the model says, before it is put on the wire."""

    words: tuple[str, ...] = ()
    call: tuple[str, str] | None = None  # tool name, arguments as JSON

    @property
    def finish(self) -> str:
        return "tool_calls" if self.call else "stop"


decode = msgspec.json.Decoder(Ask).decode


# What a request is answered with


def answer_to(ask: Ask) -> Answer:
    if ask.model == "tool":
        if ask.messages[-1].role == "tool":
            return Answer(words=(f"the tool said: {ask.last('tool')}",))
        if ask.tools:
            return Answer(call=call_of(ask.tools[0].function, ask.last("user")))
    if found := re.fullmatch(r"fixed-(\d+)|slow-(\d+)cps", ask.model):
        return Answer(words=tuple(f"word{n} " for n in range(int(found[1] or found[2]))))
    return Answer(words=tuple(re.findall(r"\S+\s*", f"echo {ask.last('user')}")))


def call_of(function: dict[str, Any], text: str) -> tuple[str, str]:
    """The user's text as arguments when it is a JSON object, else a value for each required property."""
    try:
        arguments = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        schema = function.get("parameters", {})
        filler: dict[str, Any] = {"integer": 1, "number": 1, "boolean": True, "array": [], "object": {}}
        arguments = {
            name: filler.get(schema["properties"][name].get("type"), text) for name in schema.get("required", ())
        }
    return function["name"], encode(arguments).decode()


def usage_of(answer: Answer) -> dict[str, Any]:
    prompt, completion = 10, max(1, len(answer.words))
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def envelope(model: str, kind: str, choices: list[Any], **more: Any) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": CREATED, "model": model, "choices": choices, **more}


def event(model: str, delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return b"data: %s\n\n" % encode(envelope(model, "chat.completion.chunk", [choice]))


def events(model: str, answer: Answer) -> list[bytes]:
    """The answer as OpenAI streams it: role, pieces, finish reason. The arguments of a call come in two pieces."""
    out = [event(model, {"role": "assistant", "content": None if answer.call else ""})]
    out += [event(model, {"content": word}) for word in answer.words]
    if answer.call:
        name, arguments = answer.call
        half = len(arguments) // 2
        opening = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": ""}}
        out.append(event(model, {"tool_calls": [opening]}))
        for piece in (arguments[:half], arguments[half:]):
            out.append(event(model, {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}))
    return [*out, event(model, {}, answer.finish)]


def usage_event(model: str, answer: Answer) -> bytes:
    return b"data: %s\n\n" % encode(envelope(model, "chat.completion.chunk", [], usage=usage_of(answer)))


def completion(model: str, answer: Answer) -> bytes:
    message: dict[str, Any] = {"role": "assistant", "content": None if answer.call else "".join(answer.words)}
    if answer.call:
        name, arguments = answer.call
        message["tool_calls"] = [
            {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}
        ]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish}
    return encode(envelope(model, "chat.completion", [choice], usage=usage_of(answer)))


def model_list() -> bytes:
    rows = [{"id": name, "object": "model", "created": CREATED, "owned_by": "fake"} for name in MODELS]
    return encode({"object": "list", "data": rows})


def error_body(status: int, message: str = "") -> bytes:
    kind = {401: "invalid_api_key", 402: "insufficient_quota", 429: "rate_limit_exceeded"}.get(status, "server_error")
    return encode(
        {"error": {"message": message or f"the fake vendor says {status}", "type": kind, "param": None, "code": kind}}
    )


# The wire

DONE = b"data: [DONE]\n\n"


@lru_cache(maxsize=1024)
def streamed(model: str, answer: tuple[tuple[str, ...], tuple[str, str] | None], with_usage: bool) -> bytes:
    """A whole streamed answer, every event in a chunk of its own, ready to be sent in one write."""
    said = Answer(*answer)
    pieces = events(model, said) + ([usage_event(model, said)] if with_usage else []) + [DONE]
    return HEAD + b"".join(map(chunked, pieces)) + END


def started(*pieces: bytes) -> bytes:
    """A stream that began and has no end."""
    return HEAD + b"".join(map(chunked, pieces))


SOME_TEXT = (event("fault", {"role": "assistant", "content": ""}), event("fault", {"content": "half an "}))
PAGE = b"<html><head><title>Bad gateway</title></head><body><h1>Bad gateway</h1></body></html>"
COMPLETE = Answer(words=("all ", "of ", "it"))

# Bytes sent, and whether the connection is closed after them (else it is left hanging).
FAULTS: dict[str, tuple[bytes, bool]] = {
    "fault-hang": (b"", False),
    "fault-hang-mid": (started(*SOME_TEXT), False),
    "fault-close": (b"", True),
    "fault-midclose": (started(*SOME_TEXT), True),
    "fault-html": (whole(200, PAGE, "text/html"), True),
    "fault-html-502": (whole(502, PAGE, "text/html"), True),
    "fault-garbage": (started(*[b"data: {not json %d\n\n" % n for n in range(12)]) + END, True),
    "fault-not-http": (b"SSH-2.0-OpenSSH_9.2\r\n", True),
    "fault-error-chunk": (started(b'data: {"error":{"message":"overloaded","code":503}}\n\n') + END, True),
    "fault-error-late": (started(*SOME_TEXT, b'data: {"error":{"message":"out of memory"}}\n\n') + END, True),
    "fault-empty": (started(event("fault", {}, "stop"), DONE) + END, True),
    "fault-filter": (started(event("fault", {}, "content_filter"), DONE) + END, True),
    "fault-redirect": (whole(307, b"", more="location: https://elsewhere.example/v1\r\n"), True),
    "fault-json": (whole(200, completion("fault-json", COMPLETE)), True),
    "fault-nodone": (started(*events("fault-nodone", COMPLETE)) + END, True),
}


class FakeVendor:
    """What happened to the vendor so far, and where it is."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"
        self.calls: Counter[str] = Counter()  # by model
        self.requests: deque[tuple[str, dict[str, str], bytes]] = deque(maxlen=100)  # path, headers, body
        self.connections = 0  # open now
        self.accepted = 0  # connections so far
        self.listing = model_list()
        self.faults = dict(FAULTS)  # a test may add its own
        self._closed = trio.Event()

    @property
    def last_body(self) -> Any:
        return msgspec.json.decode(self.requests[-1][2])

    async def until(self, true: Callable[[FakeVendor], bool]) -> None:
        """Wait until `true`, looked at whenever a connection closes."""
        with trio.fail_after(30):
            while not true(self):
                self._closed = trio.Event()
                await self._closed.wait()

    async def serve(self, connection: trio.SocketStream) -> None:
        """Answer the requests of one connection until it closes."""
        self.connections += 1
        self.accepted += 1
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            buffer = bytearray()
            while request := await next_request(connection, buffer):
                await self._answer(connection, *request[1:])
        except (trio.BrokenResourceError, trio.ClosedResourceError, Hangup):
            pass
        finally:
            self.connections -= 1
            self._closed.set()
            await trio.aclose_forcefully(connection)

    async def _answer(self, to: trio.SocketStream, path: str, headers: dict[str, str], body: bytes) -> None:
        self.requests.append((path, headers, body))
        if headers.get("authorization") == "Bearer bad-key":
            return await to.send_all(whole(401, error_body(401, "Incorrect API key provided: bad-key")))
        if path.endswith("/models"):
            return await to.send_all(whole(200, self.listing))
        if not path.endswith("/chat/completions"):
            return await to.send_all(whole(404, error_body(404)))
        try:
            ask = decode(body)
        except msgspec.DecodeError:
            return await to.send_all(whole(400, error_body(400)))
        self.calls[ask.model] += 1
        if ask.model.startswith("picky-") and (name := ask.model.removeprefix("picky-")) in msgspec.json.decode(body):
            return await to.send_all(whole(400, error_body(400, f"Unsupported parameter: '{name}'")))
        await self._complete(to, ask)

    async def _complete(self, to: trio.SocketStream, ask: Ask) -> None:
        if ask.model in self.faults:
            sent, close = self.faults[ask.model]
            await to.send_all(sent)
            if not close:
                await to.receive_some(1)  # until the client gives up
            raise Hangup
        found = re.fullmatch(r"fault-(\d{3})|flaky-(\d{3})-(\d+)", ask.model)
        if found and (found[1] or self.calls[ask.model] <= int(found[3])):
            status = int(found[1] or found[2])
            return await to.send_all(whole(status, error_body(status), more="retry-after: 1\r\n" * (status == 429)))
        answer = answer_to(ask)
        if not ask.stream:
            return await to.send_all(whole(200, completion(ask.model, answer)))
        if pace := re.fullmatch(r"slow-(\d+)cps", ask.model):
            await to.send_all(HEAD)
            for piece in events(ask.model, answer):
                await trio.sleep(1 / int(pace[1]))
                await to.send_all(chunked(piece))
            usage = chunked(usage_event(ask.model, answer)) if ask.wants_usage else b""
            return await to.send_all(usage + chunked(DONE) + END)
        await to.send_all(streamed(ask.model, (answer.words, answer.call), ask.wants_usage))


@asynccontextmanager
async def fake_vendor(port: int = 0) -> AsyncIterator[FakeVendor]:
    """A vendor that lives as long as the block; port 0 takes a free one."""
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    vendor = FakeVendor(listeners[0].socket.getsockname()[1])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, vendor.serve, listeners)
        yield vendor
        nursery.cancel_scope.cancel()


async def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="An OpenAI-compatible vendor for tests and benchmarks")
    parser.add_argument("--port", type=int, default=0)
    async with fake_vendor(parser.parse_args(arguments).port) as vendor:
        print(vendor.url, flush=True)  # noqa: T201
        await trio.sleep_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        trio.run(main)
