"""What vendors, and what stands before them, send instead of an answer. Contract: reliability.md row 5, T5.

A document stands between the events of a good stream, and alone as a body. A stream is a body as it is. What `KEY`
stands in repeats a secret.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator

from tests.fakes.http1 import END, HEAD, chunked, whole
from tests.fuzz.tongues import TEXT, Tongue, sse

KEY = "correct-horse-battery-staple"
DEEP = 100_000
PAGE = b"<!doctype html><html><head><title>502</title></head><body><h1>Bad gateway</h1>%s</body></html>"

Kind = Callable[[Tongue], bytes]


def same(body: bytes) -> Kind:
    return lambda tongue: body


# Documents that are the same on every wire

DOCUMENTS: dict[str, Kind] = {
    "null": same(b"null"),
    "number": same(b"7"),
    "text": same(b'"an answer"'),
    "list": same(b"[]"),
    "empty object": same(b"{}"),
    "list of objects": same(b'[{"choices":[]},{"type":"message"}]'),
    "half a key": same(b'{"cho'),
    "half an object": same(b'{"choices":[{"message":{"content":"x"}'),
    "half an escape": same(b'{"type":"\\u00'),
    "single quotes": same(b"{'choices': [], 'type': 'message'}"),
    "comments": same(b'{"type":"message", /* yes */ "content":[]} // end'),
    "not a number": same(b'{"type":"message","index":NaN,"usage":{"prompt_tokens":Infinity}}'),
    "number of 5000 digits": same(b'{"type":"message","index":' + b"9" * 5000 + b"}"),
    "exponent": same(b'{"type":"content_block_start","index":1e999,"output_index":1e999,"choices":[{"index":1e999}]}'),
    "bad utf-8": same(b'{"type":"\xc3\x28","choices":[{"delta":{"content":"\xff\xfe"}}]}'),
    "overlong utf-8": same(b'{"type":"\xc0\xaf\xe0\x80\xaf"}'),
    "nuls": same(b"\x00" * 5000),
    "same key twice": same(b'{"type":"ping","type":"error","error":null,"error":{},"choices":[],"choices":null}'),
    "bomb of lists": same(b"[" * DEEP + b"]" * DEEP),
    "bomb of objects": same(b'{"a":' * DEEP + b"1" + b"}" * DEEP),
    "unclosed bomb": same(b'{"error":' + b"[" * DEEP),
    "wide object": same(b"{" + b",".join(b'"k%d":0' % n for n in range(50_000)) + b"}"),
    "page": same(PAGE % b"<p>nginx</p>"),
    "long page": same(PAGE % (b"<script>" + b"a" * 200_000)),
    "endless tags": same(b"<" * DEEP),
    "plain words": same(b"upstream connect error or disconnect/reset before headers"),
    "compressed and not said": same(gzip.compress(b'{"choices":[]}' * 100)),
    "terminal escapes": same(b'\x1b[31m{"error":{"message":"\x1b]0;title\x07"}}'),
    "another protocol": same(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    "two documents": lambda tongue: tongue.whole(TEXT) + tongue.whole(TEXT),
    "something behind it": lambda tongue: tongue.whole(TEXT) + b"}]\x00",
    "bom before it": lambda tongue: b"\xef\xbb\xbf" + tongue.whole(TEXT),
    "utf-16": lambda tongue: tongue.whole(TEXT).decode().encode("utf-16"),
    "half surrogate": lambda tongue: tongue.whole(b'"\\ud800"'),
    "nul in a text": lambda tongue: tongue.whole(b'"a\\u0000b"'),
    "text of a megabyte": lambda tongue: tongue.whole(b'"' + b"a" * 2**20 + b'"'),
    "text that is an object": lambda tongue: tongue.whole(b'{"text":"x"}'),
    "text that is a bomb": lambda tongue: tongue.whole(b'{"a":' * 400 + b"1" + b"}" * 400),
    "error that is a bomb": same(b'{"type":"error","error":{"message":' + b"[" * 300 + b"]" * 300 + b"}}"),
    "error without words": same(b'{"type":"error","error":{"code":"\xc2\xb2","message":null}}'),
    "error with a key": same(b'{"type":"error","error":{"message":"no such key: %s"}}' % KEY.encode()),
}

# Good events with one thing wrong

EVENTS: dict[str, Callable[[Tongue], Iterable[bytes]]] = {
    "text that is a number": lambda tongue: tongue.text(b"7") * 20,
    "text that is nothing": lambda tongue: tongue.text(b"null") * 20,
    "text that is a list": lambda tongue: tongue.text(b'[null,{"text":3},[]]') * 20,
    "negative index": lambda tongue: tongue.call(b"-5", b'"c"', b'"f"', b'"{}"'),
    "fraction as index": lambda tongue: tongue.call(b"1.5", b'"c"', b'"f"', b'"{}"') * 12,
    "index without end": lambda tongue: tongue.call(b"9" * 30, b'"c"', b'"f"', b'"{}"'),
    "index in words": lambda tongue: tongue.call(b'"one"', b'"c"', b'"f"', b'"{}"') * 12,
    "the same index twice": lambda tongue: (
        *tongue.call(b"1", b'"c"', b'"f"', b'"{}"'),
        *tongue.call(b"1", b'"d"', b'"g"', b'"{}"'),
    ),
    "the same index as the text": lambda tongue: tongue.call(b"0", b'"i0"', b'"f"', b'"{}"'),
    "the same id twice": lambda tongue: (
        *tongue.call(b"1", b'"c"', b'"f"', b'"{}"'),
        *tongue.call(b"2", b'"c"', b'"g"', b'"{}"'),
    ),
    "call without a name": lambda tongue: tongue.call(b"1", b'"c"', b'""', b'"{}"'),
    "call whose name is an object": lambda tongue: tongue.call(b"1", b'"c"', b'{"a":{}}', b'"{}"'),
    "call without an id": lambda tongue: tongue.call(b"1", b'""', b'"f"', b'"{}"'),
    "call whose id is a list": lambda tongue: tongue.call(b"1", b"[[]]", b'"f"', b'"{}"'),
    "calls without end": lambda tongue: (
        event for n in range(200) for event in tongue.call(b"%d" % n, b'"c%d"' % n, b'"f"', b'"{}"')
    ),
    "calls at one index without end": lambda tongue: (
        event for n in range(2000) for event in tongue.call(b"1", b'"c%d"' % n, b'"f"', b'"{}"')
    ),
    "half arguments": lambda tongue: tongue.call(b"1", b'"c"', b'"f"', b'"{\\"a\\":"'),
    "arguments that are a list": lambda tongue: tongue.call(b"1", b'"c"', b'"f"', b'"[1]"'),
    "arguments that are a bomb": lambda tongue: tongue.call(
        b"1", b'"c"', b'"f"', b'"' + b'{\\"a\\":' * 600 + b"1" + b"}" * 600 + b'"'
    ),
    "arguments that are an object": lambda tongue: tongue.call(b"1", b'"c"', b'"f"', b'{"a":1}'),
    "negative count": lambda tongue: tongue.usage(b"-5"),
    "count beyond all tables": lambda tongue: tongue.usage(b"9" * 19),
    "count of 30 digits": lambda tongue: tongue.usage(b"9" * 30),
    "count in words": lambda tongue: tongue.usage(b'"many"') * 12,
    "error that is a list": lambda tongue: tongue.error(b"[]"),
    "error that is a number": lambda tongue: tongue.error(b"42"),
    "error with a wild code": lambda tongue: tongue.error(b'{"code":"99999999999","message":{"deep":[]}}'),
    "error that cuts a key": lambda tongue: tongue.error(b'{"message":"%s %s"}' % (b"x" * 260, KEY.encode())),
    "end of another kind": lambda tongue: tongue.finish(b'"eaten by a whale"'),
    "end that is a number": lambda tongue: tongue.finish(b"3"),
    "two ends": lambda tongue: (*tongue.end, *tongue.text(b'"more"'), *tongue.end),
    "no end": lambda tongue: (),
    "the other wires": lambda tongue: (
        b'{"choices":[{"delta":{"content":"a"}}]}',
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"b"}}',
        b'{"type":"response.output_text.delta","delta":"c"}',
    ),
    "items that are no lists": lambda tongue: (
        b'{"type":"response.output_item.done","output_index":0,"item":{"id":"i0","type":"message","content":7}}',
        b'{"type":"response.output_item.done","output_index":2,"item":{"id":"r","type":"reasoning","summary":true}}',
        b'{"type":"content_block_start","index":3,"content_block":{"type":[],"text":{}}}',
        b'{"choices":[{"delta":{"images":[{"image_url":{"url":"data:image/png;base64,!"}}],"tool_calls":[{}]}}]}',
    ),
    "bad utf-8 in what is not read at once": lambda tongue: (
        b'{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","name":"f","input":{"a":"\x84"}}}',
    ),
    "bombs in what is given back": lambda tongue: (
        b'{"type":"response.output_item.done","output_index":1,"item":{"id":"r","type":"reasoning","summary":%s,'
        b'"encrypted_content":"x"}}' % (b"[" * 600 + b"]" * 600),
        b'{"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":%s}}'
        % (b"[" * 600 + b"]" * 600),
        b'{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"t","name":"f","input":%s}}'
        % (b'{"a":' * 600 + b"1" + b"}" * 600),
    ),
}


# Bodies that are no events, or hardly

STREAMS: dict[str, Kind] = {
    "nothing": same(b""),
    "empty lines": same(b"\n" * 5000),
    "carriage returns": same(b"\r\r\r\rdata: x\r\r"),
    "comments alone": same(b": ping\n\n" * 2000),
    "colons": same(b":" * 10_000),
    "names of fields alone": same(b"retry: 5\nid:\nevent: x\n\n" * 100),
    "a field cut in two": same(b"dat\n\nda:"),
    "fields without contents": same(b"data:\n\ndata: \n\n" * 500),
    "empty data without end": same(b"data:\n" * 300_000),
    "an event of many lines": same(b"data: x\n" * 100_000 + b"\n"),
    "an endless line": same(b"data: " + b"a" * (9 * 2**20)),
    "an endless comment": same(b"data: {}\n\n:" + b"a" * (9 * 2**20)),
    "ends alone": same(b"data: [DONE]\n\n" * 1000),
    "an end without data": same(b"[DONE]"),
    "garbage between": lambda tongue: sse(tongue.start) + b"data: {not json\n\n" * 12 + sse(tongue.end),
    "windows lines and boms": lambda tongue: (
        b"\xef\xbb\xbf" + sse((*tongue.start, *tongue.end)).replace(b"\n", b"\r\n") + b"\xef\xbb\xbf"
    ),
    "cut in mid-event": lambda tongue: sse((*tongue.start, *tongue.end))[:-25],
    "a million events": lambda tongue: sse(tongue.start) + sse(tongue.text(b'""')) * 20_000 + sse(tongue.end),
}

# HTTP that is none; `raw` is all that a connection gets to see

GZIPPED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: %s\r\ncontent-length: %d\r\n\r\n"


def packed(encoding: bytes, body: bytes) -> bytes:
    return GZIPPED % (encoding, len(body)) + body


def bomb(layers: int) -> bytes:
    """A line of 128 MiB, so many times compressed."""
    packer = zlib.compressobj(9, wbits=31)
    body = b"".join([packer.compress(b"data: "), *(packer.compress(bytes(2**20)) for _ in range(128)), packer.flush()])
    for _ in range(layers - 1):
        body = gzip.compress(body)
    return body


HTTP: dict[str, Callable[[], bytes]] = {
    "nothing at all": lambda: b"",
    "another service": lambda: b"SSH-2.0-OpenSSH_9.2\r\n",
    "half a head": lambda: b"HTTP/1.1 200 OK\r\ncontent-ty",
    "a head without end": lambda: b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 50_000,
    "a status without meaning": lambda: whole(999, b"?"),
    "a status of no body": lambda: b"HTTP/1.1 204 No Content\r\n\r\n",
    "a redirect": lambda: whole(307, b"", more=f"location: http://{KEY}@example.test/\r\n"),
    "an error that is not json": lambda: whole(400, b"\xff\xfe\x00" * 9000, "image/png"),
    "an error that repeats the key": lambda: whole(400, b'{"error":{"message":"%s %s"}}' % (b"x" * 265, KEY.encode())),
    "an error that is a bomb": lambda: whole(500, b"[" * DEEP + b"]" * DEEP),
    "chunks of no size": lambda: HEAD + b"zz\r\ndata: x\r\n",
    "a chunk beyond all sizes": lambda: HEAD + b"ffffffffffffffffff\r\ndata: x\r\n",
    "less than was said": lambda: b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\ndata: {}\n\n",
    "more than was said": lambda: b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\ndata: {}\n\n" * 50,
    "gzip that is none": lambda: packed(b"gzip", b"data: {}\n\n"),
    "half of a gzip": lambda: packed(b"gzip", gzip.compress(b"data: {}\n\n" * 500)[:30]),
    "a gzip bomb": lambda: packed(b"gzip", bomb(1)),
    "a gzip bomb in a gzip": lambda: packed(b"gzip, gzip", bomb(2)),
    "an encoding nobody knows": lambda: packed(b"rot13", b"qngn: {}\n\n"),
    "cookies without end": lambda: whole(200, b"{}", more="".join(f"set-cookie: c{n}={n}\r\n" for n in range(900))),
}


def bodies(tongue: Tongue) -> Iterator[tuple[str, bytes]]:
    """Every kind that is a body, on this wire."""
    for name, document in DOCUMENTS.items():
        yield f"{name}, in a stream", sse(tongue.start) + sse([document(tongue)]) + sse(tongue.end)
        yield f"{name}, whole", document(tongue)
    for name, events in EVENTS.items():
        yield (
            f"{name}, in a stream",
            sse(tongue.start) + sse(events(tongue)) + (sse(tongue.end) if name != "no end" else b""),
        )
        yield f"{name}, whole", b"[%s]" % b",".join(events(tongue))
    for name, body in STREAMS.items():
        yield name, body(tongue)


def streamed(body: bytes, size: int = 60_000) -> bytes:
    """HTTP that brings `body` in chunks."""
    return HEAD + b"".join(chunked(body[at : at + size]) for at in range(0, len(body), size)) + END
