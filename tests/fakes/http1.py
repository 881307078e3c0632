"""HTTP/1.1 as the fakes speak it: requests read, and answers made by hand so that they can be wrong on purpose."""

from __future__ import annotations

from typing import NamedTuple

import trio

BODY_LIMIT = 16 * 2**20
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


class Hangup(Exception):
    """The connection is closed without another word."""


class Request(NamedTuple):
    method: str
    target: str  # path and query
    headers: dict[str, str]  # names in lower case
    body: bytes


def whole(status: int, body: bytes, kind: str = "application/json", more: str = "") -> bytes:
    return (
        f"HTTP/1.1 {status} Fake\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{more}\r\n".encode() + body
    )


def chunked(piece: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(piece), piece)


async def next_request(connection: trio.SocketStream, buffer: bytearray) -> Request | None:
    """The next request of a connection. None when the client is gone or says too much."""
    while (end := buffer.find(b"\r\n\r\n")) < 0:
        if len(buffer) > BODY_LIMIT or not (data := await connection.receive_some(65536)):
            return None
        buffer += data
    first, *lines = buffer[:end].decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    stop = end + 4 + int(headers.get("content-length", 0))
    if stop > BODY_LIMIT:
        return None
    while len(buffer) < stop:
        if not (data := await connection.receive_some(65536)):
            return None
        buffer += data
    body = bytes(buffer[end + 4 : stop])
    del buffer[:stop]
    method, target, *_ = first.split(" ")
    return Request(method, target, headers, body)
