"""A vendor of embeddings on 127.0.0.1: OpenAI's `/v1/embeddings` and Ollama's `/api/embed`.

A vector is made from the hash of its text, so the same text always has the same one. The model's name chooses:

    words-8           8 dimensions (any number)
    large-3072        3072 dimensions, or as few as `dimensions` asks for (any number)
    rigid-3072        3072 dimensions, refuses `dimensions`
    deaf-3072         3072 dimensions, does not hear `dimensions`
    shuffled          as words-8, rows in another order, told by their index
    fault-500         an error with that status (any)
    flaky-503-1       the first call fails with that status, then as words-8
    short             one vector too few
    uneven            vectors of two sizes
    empty             vectors without a number
    twice             two rows with one index
    inf               a number that is too large
    text              "a" where numbers belong
    page              a proxy's page with status 200
    hang              never answers

The key `bad-key` is refused; more than 100 texts or an empty one is a 400, as OpenAI has it.
"""

from __future__ import annotations

import re
import socket
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import msgspec
import trio
from msgspec import Struct

from tests.fakes.http1 import next_request, whole
from tests.fakes.vendor import PAGE, error_body


class Ask(Struct):
    model: str
    input: list[str]
    dimensions: int | None = None


decode = msgspec.json.Decoder(Ask).decode


def vector_of(text: str, dims: int) -> list[float]:
    """Numbers between -1 and 1 that 32 bits hold exactly."""
    block = b"".join(sha256(b"%d %s" % (n, text.encode())).digest() for n in range(-(-dims // 32)))
    return [(byte - 127.5) / 128 for byte in block[:dims]]


class FakeEmbedder:
    """What it was asked so far, and where it is."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"
        self.calls: Counter[str] = Counter()  # by model
        self.asked: deque[Ask] = deque(maxlen=1000)
        self.requests: deque[tuple[str, dict[str, str]]] = deque(maxlen=1000)  # path, headers

        self.hung = trio.Event()  # somebody was left without an answer

    @property
    def texts(self) -> list[str]:
        return [text for ask in self.asked for text in ask.input]

    async def serve(self, connection: trio.SocketStream) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        buffer = bytearray()
        try:
            while request := await next_request(connection, buffer):
                if (answer := self._answer(*request[1:])) is None:
                    self.hung.set()
                    await connection.receive_some(1)  # until the client gives up
                    return
                await connection.send_all(answer)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(connection)

    def _answer(self, path: str, headers: dict[str, str], body: bytes) -> bytes | None:
        self.requests.append((path, headers))
        if headers.get("authorization") == "Bearer bad-key":
            return whole(401, error_body(401, "Incorrect API key provided: bad-key"))
        if path not in ("/v1/embeddings", "/api/embed"):
            return whole(404, error_body(404, f"no such path: {path}"))
        ask = decode(body)
        self.calls[ask.model] += 1
        self.asked.append(ask)
        if len(ask.input) > 100 or not all(ask.input):
            return whole(400, error_body(400, "input: between 1 and 100 texts, none of them empty"))
        found = re.fullmatch(r"fault-(\d{3})|flaky-(\d{3})-(\d+)", ask.model)
        if found and (found[1] or self.calls[ask.model] <= int(found[3])):
            status = int(found[1] or found[2])
            return whole(status, error_body(status))
        if ask.model.startswith("rigid") and ask.dimensions:
            return whole(400, error_body(400, "this model does not support specifying dimensions"))
        match ask.model:
            case "hang":
                return None
            case "page":
                return whole(200, PAGE, "text/html")
        return whole(200, self._vectors(path, ask))

    def _vectors(self, path: str, ask: Ask) -> bytes:
        size = re.search(r"-(\d{1,4})$", ask.model)
        dims = int(size[1]) if size and not ask.model.startswith("flaky") else 8
        if ask.dimensions and ask.model.startswith("large"):
            dims = ask.dimensions
        vectors: list[Any] = [vector_of(text, dims) for text in ask.input]
        match ask.model:
            case "short":
                vectors.pop()
            case "uneven":
                vectors[-1].append(0.5)
            case "empty":
                vectors = [[] for _ in vectors]
            case "inf":
                vectors[0][0] = 1e300
            case "text":
                vectors[0][0] = "a"
        if path == "/api/embed":
            return msgspec.json.encode({"model": ask.model, "embeddings": vectors, "prompt_eval_count": 1})
        rows = [{"object": "embedding", "index": n, "embedding": vector} for n, vector in enumerate(vectors)]
        if ask.model == "shuffled":
            rows.reverse()
        if ask.model == "twice":
            rows[0]["index"] = 1
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return msgspec.json.encode({"object": "list", "data": rows, "model": ask.model, "usage": usage})


@asynccontextmanager
async def fake_embedder() -> AsyncIterator[FakeEmbedder]:
    """An embedder that lives as long as the block."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    embedder = FakeEmbedder(listeners[0].socket.getsockname()[1])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, embedder.serve, listeners)
        yield embedder
        nursery.cancel_scope.cancel()
