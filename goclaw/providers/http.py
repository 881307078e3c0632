"""A vendor that is reached over HTTP, whatever it speaks: one client, one loop. Contract: providers.md §8, §14."""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import MappingProxyType
from typing import TypeVar

import httpx
import msgspec
import trio
from msgspec.structs import replace

from goclaw.domain.chat import ChatRequest, ChatResponse, Raw, StreamChunk, Usage
from goclaw.domain.effort import Reasoning
from goclaw.domain.errors import ProviderError
from goclaw.domain.tokens import estimate, estimate_prompt
from goclaw.providers.bodies import ACCEPTED, Sent, opened
from goclaw.providers.catalogue import Vendor
from goclaw.providers.provider import Sign, Tell, silent
from goclaw.providers.reader import BROKEN, PAGE_LIMIT, AnswerReader
from goclaw.providers.remedies import remedy
from goclaw.providers.retry import patient
from goclaw.providers.trouble import CallUnwritten, refusal
from goclaw.providers.web import CONNECT, close, read, tls, weather
from goclaw.providers.wire import Learned, Wire
from goclaw.providers.written_calls import failed_call, heeded
from goclaw.security.egress import guarded
from goclaw.security.known import SHORTEST
from goclaw.security.ssrf import Guard, Refused

T = TypeVar("T")

SILENCE = 120.0  # seconds without a byte once the answer has begun
LISTING = 15.0  # seconds for the list of models
LISTED_FOR = 600.0  # seconds a list of models is believed
LISTING_LIMIT = 8 * 2**20  # bytes of it
CONNECTIONS = 64  # at once, if nobody says more, and kept when nobody uses them; providers.md §3 P3.8
IDLE = 30.0  # seconds an unused connection is kept
LINGER = 0.25  # seconds granted to a vendor that has said everything, so that its connection can be used again
MODELS_LEARNED = 256  # models of which something is remembered
SHOWN_FOR = 600.0  # seconds; providers.md §2
SHOWN_OF_KEY = 3  # characters that may be an accident
PAGES = 20  # of a list of models

_url = functools.lru_cache(maxsize=256)(httpx.URL)  # parsing one takes as long as reading three chunks


class HttpProvider:
    """One vendor and its keys. `timeout` bounds a whole call, retries included, in seconds; `at_once` connections.

    Raises ProviderError for a key that cannot be one. Opens no connection before it is asked.
    """

    def __init__(
        self,
        vendor: Vendor,
        wire: Wire,
        *,
        keys: tuple[str, ...] = (),
        timeout: float,
        at_once: int = CONNECTIONS,
        name: str = "",
        guard: Guard | None = None,
        sign: Sign | None = None,
    ) -> None:
        self.name = name or vendor.name
        self.kind = vendor.name
        self.default_model = vendor.default_model
        self.vendor = vendor
        self.wire = wire
        self.timeout = timeout
        self.learned: dict[str, Learned] = {}  # by model
        self._listed: tuple[tuple[str, ...], float] = (), -math.inf  # and until when that holds
        self._takes_tools: dict[str, tuple[bool, float]] = {}  # by model, until when
        self._keys = tuple(key.strip() for key in keys if key.strip())
        if not all(key.isascii() and key.isprintable() for key in self._keys):
            raise ProviderError("auth", f"{self.name}: the API key has characters that no key has")
        self._secret = tuple(key for key in self._keys if len(key) >= SHORTEST)
        self._headers = {"User-Agent": "GoClaw", "Accept-Encoding": ACCEPTED, **wire.headers, **vendor.headers}
        self._http = httpx.AsyncClient(
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),  # a vendor's would be every tenant's
            timeout=httpx.Timeout(None, connect=CONNECT),  # other waits are bounded where they happen
            limits=httpx.Limits(max_connections=at_once, max_keepalive_connections=CONNECTIONS, keepalive_expiry=IDLE),
            verify=tls(),
            transport=guarded(guard, tls(), at_once) if guard else None,
        )
        self._sign = sign
        self._under_way = 0
        self._closing = False

    @property
    def compacts(self) -> bool:
        """Whether it takes asks to make a conversation shorter."""
        return self.vendor.compacts

    @property
    def slots(self) -> int:
        return max(1, len(self._keys))

    @asynccontextmanager
    async def stream(
        self, ask: ChatRequest, *, slot: int = 0, tell: Tell = silent
    ) -> AsyncIterator[AsyncIterator[StreamChunk]]:
        deadline = trio.current_time() + self.timeout
        self._under_way += 1
        try:
            async with patient(lambda: _Answer(self, ask, slot, deadline), deadline, tell) as chunks:
                yield chunks
        finally:
            self._under_way -= 1
            if self._closing:
                with trio.CancelScope(shield=True):
                    await self.aclose()

    async def models(self, *, fresh: bool = False) -> list[str]:
        known, until = self._listed
        if not fresh and until > trio.current_time():
            return list(known)
        ids = await self._list_models()
        self._listed = tuple(ids), trio.current_time() + LISTED_FOR
        return ids

    async def _list_models(self) -> list[str]:
        ids: list[str] = []
        with trio.move_on_after(LISTING):
            query = ""
            for _ in range(PAGES):
                response = await self.send("GET", self.wire.models_path + query)
                try:
                    page = self.wire.list_models(await read(response, LISTING_LIMIT))
                except httpx.HTTPError as error:
                    raise self.blame(weather(error)) from error
                except BROKEN as error:
                    raise self.blame(
                        ProviderError("server_error", f"the list of models is not one: {error}")
                    ) from error
                ids += page.ids
                query = page.more
                if not query:
                    break
            return ids
        raise self.blame(ProviderError("timeout", f"no list of models within {LISTING:.0f} s"))

    async def takes_tools(self, model: str) -> bool:
        """Whether Ollama's model does; asked once in ten minutes. Yes if it does not say."""
        known, until = self._takes_tools.get(model, (True, -math.inf))
        if until > trio.current_time():
            return known
        root = self.vendor.base_url.rstrip("/").removesuffix("/v1")
        asked = msgspec.json.encode({"model": model or self.default_model})
        takes = True
        with trio.move_on_after(LISTING):
            try:
                response = await self.send("POST", "/api/show", asked, root=root)
                shown = msgspec.json.decode(await read(response, LISTING_LIMIT), type=_Shown)
                takes = shown.capabilities is None or "tools" in shown.capabilities
            except (ProviderError, httpx.HTTPError, *BROKEN):
                pass  # the question itself will show it
        _remember(self._takes_tools, model, (takes, trio.current_time() + SHOWN_FOR))
        return takes

    def learn(self, model: str, learned: Learned) -> None:
        _remember(self.learned, model, replace(learned, cool=False, formless=False))

    async def aclose(self) -> None:
        """Answers that have begun go on; the last one closes the connections."""
        self._closing = True
        if not self._under_way:
            await self._http.aclose()

    async def send(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        *,
        slot: int = 0,
        headers: Mapping[str, str] = MappingProxyType({}),
        root: str = "",
    ) -> httpx.Response:
        """The vendor's answer once its head has come, if it is a 200. Every refusal is a ProviderError."""
        key = self.wire.authorize(self._keys[slot % len(self._keys)]) if self._keys else {}
        if self._sign is not None:
            try:
                key = await self._sign()
            except ProviderError as error:
                raise self.blame(error) from None
        headers = {**({"Content-Type": "application/json"} if content else {}), **key, **headers}
        url = (root or self.vendor.base_url.rstrip("/")) + path
        if self._http.is_closed:
            raise ProviderError("server_error", f"{self.name}: was changed or removed a moment ago")
        try:
            request = httpx.Request(method, _url(url), headers={**self._headers, **headers}, content=content)
            if content:
                request.stream = Sent(content)
            response = await self._http.send(request, stream=True)
            if response.status_code == 200:
                return response
            body = await read(response, PAGE_LIMIT)
        except Refused as error:
            raise self.blame(ProviderError("format", str(error))) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self.blame(weather(error)) from error
        for known in self._secret:  # before it is cut: half a key is one too
            body = body.replace(known.encode(), b"***")
        raise self.blame(refusal(response.status_code, response.headers, body))

    def blame(self, error: ProviderError) -> ProviderError:
        """`error` with the vendor's name, and without a key, should the vendor have repeated it."""
        said = error.message
        for key in self._secret:
            said = without(key, said)
        error.message = f"{self.name}: {said}"
        error.args = (error.message,)
        return error


class _Shown(msgspec.Struct):
    capabilities: list[str] | None = None


def _remember(known: dict[str, T], model: str, what: T) -> None:
    while len(known) >= MODELS_LEARNED:
        del known[next(iter(known))]
    known[model] = what


class _Answer:
    """One attempt: sends the request, feeds the reader, hands out its chunks."""

    def __init__(self, provider: HttpProvider, ask: ChatRequest, slot: int, deadline: float) -> None:
        self._provider = provider
        self._ask = ask
        self._slot = slot
        self._deadline = deadline
        self._response: httpx.Response | None = None
        self._raw: AsyncIterator[bytes]  # as it comes …
        self._body: AsyncIterator[bytes]  # … and without its encoding
        self._reader = AnswerReader(provider.wire.assemble())
        self._ready: deque[StreamChunk] = deque()
        self._end: ChatResponse | ProviderError | None = None
        self._reasoning: Reasoning | None = None
        self._family = ""

    async def start(self) -> None:
        try:
            await self._begin()
        except CallUnwritten as error:
            self._take(error)

    async def _begin(self) -> None:
        with trio.move_on_at(self._deadline):
            self._response = await self._send()
        if self._response is None:
            raise self._late()
        self._raw = self._response.aiter_raw()
        self._body = opened(self._raw, self._response.headers)
        self._reader.content_type = self._response.headers.get("content-type", "")
        await self._fill(math.inf)

    def __aiter__(self) -> AsyncIterator[StreamChunk]:
        return self

    async def __anext__(self) -> StreamChunk:
        if not self._ready:
            if isinstance(self._end, ChatResponse):
                raise StopAsyncIteration
            await self._fill(SILENCE)
        return self._ready.popleft()

    async def aclose(self) -> None:
        if self._response is not None:
            await close(self._response, self._raw, LINGER if self._reader.done else 0)

    async def _send(self) -> httpx.Response:
        """Ask, and ask again as long as the refusal says how."""
        provider, model = self._provider, self._ask.model
        learned = provider.learned.get(model, Learned())
        if self._ask.tools and "asks_for_tools" in provider.vendor.quirks and not await provider.takes_tools(model):
            learned = replace(learned, without=learned.without | {"tools"})
        while True:
            call = provider.wire.write(self._ask, provider.vendor, learned)
            self._reasoning, self._family = call.reasoning, call.family
            try:
                return await provider.send("POST", call.path, call.body, slot=self._slot, headers=call.headers)
            except ProviderError as error:
                better = remedy(error, self._ask, call.longest, learned)
                if better is None:
                    raise
                learned = better
                provider.learn(model, better)

    async def _fill(self, patience: float) -> None:
        """Read until there is something to hand out. `patience` is in seconds without a byte."""
        while not self._ready:
            if isinstance(self._end, ProviderError):
                raise self._end
            data = await self._receive(patience)
            self._ready.extend(self._reader.feed(data))
            if not data or self._reader.done or self._reader.error:
                chunks, self._end = self._reader.finish()
                self._ready.extend(chunks)
                if isinstance(self._end, ChatResponse):
                    self._finish(heeded(self._end, self._ask.tools))
                else:
                    self._end = self._provider.blame(self._end)

    def _finish(self, answer: ChatResponse) -> None:
        if self._reader.usage is None:
            answer = self._counted(answer)
        self._end = replace(
            answer,
            provider=self._provider.name,
            vendor=self._provider.kind,
            model=self._ask.model or self._provider.default_model,
            reasoning=self._reasoning,
            raw=answer.raw and Raw(self._family, answer.raw.blocks),
        )
        self._ready.append(StreamChunk(done=self._end))

    def _take(self, error: ProviderError) -> None:
        """Raise `error`, unless it shows calls that we can read and its vendor could not."""
        if not isinstance(error, CallUnwritten):
            raise error
        rest, calls = failed_call(error.written, {tool.name for tool in self._ask.tools})
        if not calls:
            raise error
        if rest:
            self._ready.append(StreamChunk(content=rest))
        self._finish(ChatResponse(content=rest, tool_calls=calls, finish_reason="tool_calls"))

    async def _receive(self, patience: float) -> bytes:
        with trio.move_on_at(min(self._deadline, trio.current_time() + patience)):
            try:
                return await anext(self._body, b"")
            except httpx.HTTPError as error:
                raise self._provider.blame(weather(error)) from error
        raise self._late()

    def _late(self) -> ProviderError:
        if trio.current_time() >= self._deadline:
            return self._provider.blame(ProviderError("timeout", f"no answer within {self._provider.timeout:g} s"))
        return self._provider.blame(ProviderError("timeout", f"silent for {SILENCE:g} s in mid-answer"))

    def _counted(self, answer: ChatResponse) -> ChatResponse:
        """`answer` with its usage estimated if the vendor did not count; providers.md §13."""
        said = estimate(answer.content) + estimate(answer.thinking)
        said += sum(estimate(call.name) + estimate(str(call.arguments)) for call in answer.tool_calls)
        prompt = estimate_prompt(self._ask.messages, self._ask.tools)
        return replace(answer, usage=Usage(prompt_tokens=prompt, completion_tokens=said, estimated=True))


def without(key: str, said: str) -> str:
    """`said` without the key, also if the end of the line has cut it."""
    said = said.replace(key, "***")
    bare = said.removesuffix("…")
    for length in range(min(len(key), len(bare)), SHOWN_OF_KEY, -1):
        if bare.endswith(key[:length]):
            return bare[:-length] + "***"
    return said
