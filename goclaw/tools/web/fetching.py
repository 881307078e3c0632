"""One GET to a place nobody vouches for, each redirect checked like the first address. Contract: security.md §4.2.

Nothing but fixed headers is sent, to any hop: no cookie, no authorization, no referer. A connection serves one fetch.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from urllib.parse import urldefrag, urljoin

import httpx
from msgspec import Struct

from goclaw.providers.bodies import opened
from goclaw.providers.web import close, tls, weather
from goclaw.security.egress import guarded
from goclaw.security.ssrf import Guard, Refused, Target, parse
from goclaw.tools.tool import ToolFailed

REDIRECTS = 5  # steps of §4.2: 9
BODY = 5 * 2**20  # bytes after decompression; tools.md §11
RATIO = 100  # times more than was sent …
SMALL = 64 * 2**10  # … unless it is no more than this
HEAD = 64 * 2**10  # bytes of headers; step 10
SILENCE = 15.0  # seconds without a byte
MOVED = frozenset({301, 302, 303, 307, 308})
ACCEPT = "text/html,application/xhtml+xml,text/markdown;q=0.9,text/plain;q=0.9,application/json;q=0.9,*/*;q=0.5"


class Fetched(Struct, frozen=True, kw_only=True):
    url: str  # where the redirects led
    status: int
    content_type: str  # as it was sent
    body: bytes
    length: int | None = None  # as announced, of a body that was left where it is


async def fetch(
    url: str, guard: Guard, version: str, admits: Callable[[str], None], wanted: Callable[[str], bool]
) -> Fetched:
    """What is at `url`. `admits` is asked about each host before any name is looked up, and raises; `wanted` says of
    which content types the body is read.

    Raises ToolFailed, Refused.
    """
    headers = {
        "User-Agent": f"GoClaw/{version}",
        "Accept": ACCEPT,
        "Accept-Language": "en;q=0.8, *;q=0.5",
        "Accept-Encoding": "gzip",
    }
    timeout = httpx.Timeout(SILENCE)
    async with httpx.AsyncClient(transport=guarded(guard, tls()), timeout=timeout) as http:
        for _ in range(REDIRECTS + 1):
            address = _checked(url, guard, admits)
            try:
                response = await http.send(httpx.Request("GET", address, headers=headers), stream=True)
            except httpx.InvalidURL:  # of a redirect: the library reads where it leads before we do
                raise Refused("badurl") from None
            except httpx.HTTPError as error:
                raise ToolFailed("upstream_error", f"{address.host}: {weather(error).message}") from None
            there = response.headers.get("location", "") if response.status_code in MOVED else ""
            try:
                if not there:
                    return await _read(response, wanted)
                url = urldefrag(urljoin(str(address), there.strip())).url
            except ValueError:  # of urljoin
                raise Refused("badurl") from None
            except httpx.HTTPError as error:
                raise ToolFailed("upstream_error", f"{address.host}: {weather(error).message}") from None
            finally:
                await response.aclose()
    raise ToolFailed("upstream_error", f"more than {REDIRECTS} redirects; the last led to {url[:300]}")


def _checked(url: str, guard: Guard, admits: Callable[[str], None]) -> httpx.URL:
    """The URL as it will be asked for, if it may be. What two readers understand in two ways is none."""
    target = parse(url)
    admits(target.host)
    guard.check(url)
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        raise Refused("badurl") from None
    again = parse(str(address))
    if _same(target) != _same(again):
        raise Refused("badurl")
    return address


def _same(target: Target) -> tuple[str, str, int]:
    return target.scheme, str(target.address or target.host), target.port


async def _read(response: httpx.Response, wanted: Callable[[str], bool]) -> Fetched:
    kind = response.headers.get("content-type", "")[:200]
    if sum(len(name) + len(value) for name, value in response.headers.raw) > HEAD:
        raise ToolFailed("too_large", f"{response.url.host} sent more than {HEAD} bytes of headers")
    said = response.headers.get("content-length", "")
    length = int(said) if said.isdecimal() and len(said) < 16 else None
    body = b""
    if wanted(kind) or response.status_code >= 400:
        if length is not None and length > BODY:
            raise _too_large(f"{length} bytes")
        body, length = await _body(response), None
    return Fetched(url=str(response.url), status=response.status_code, content_type=kind, body=body, length=length)


async def _body(response: httpx.Response) -> bytes:
    raw = _Counted(response.aiter_raw())
    body = bytearray()
    try:
        async for piece in opened(raw, response.headers):
            body += piece
            if len(body) > BODY:
                raise _too_large(f"more than {BODY} bytes")
            if len(body) > max(SMALL, RATIO * raw.bytes):
                raise _too_large(f"packed more than {RATIO} times")
    finally:
        await close(response, raw.inner, linger=0)
    return bytes(body)


def _too_large(how: str) -> ToolFailed:
    return ToolFailed("too_large", f"the answer is too large: {how}; ask for a smaller page")


class _Counted:
    """A body that knows how many bytes of it have come."""

    def __init__(self, inner: AsyncIterator[bytes]) -> None:
        self.inner = inner
        self.bytes = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = await anext(self.inner)
        self.bytes += len(piece)
        return piece
