"""Vectors from a vendor: batches, second tries, and a look at what came back. Contract: providers.md §8, §12."""

from __future__ import annotations

from collections.abc import Sequence

import httpx
import trio

from goclaw.domain.errors import ProviderError
from goclaw.providers.catalogue import Vendor
from goclaw.providers.embeddings.embedder import CHARS, batches
from goclaw.providers.embeddings.vector import DIMENSIONS, Vector, padded
from goclaw.providers.embeddings.wires import EmbeddingWire, Vectors
from goclaw.providers.http import HttpProvider
from goclaw.providers.reader import BROKEN
from goclaw.providers.retry import ATTEMPTS, delay
from goclaw.providers.trouble import one_line
from goclaw.providers.web import read, weather
from goclaw.providers.wires import chat
from goclaw.security.ssrf import Guard

WITHIN = 30.0  # seconds for one question; skills-memory-kg.md §2.2
ANSWER_LIMIT = 16 * 2**20  # bytes; 100 vectors of 3072 dimensions take half of it
LONG_MODELS = ("text-embedding-3-large", "gemini-embedding")  # have more dimensions than we, and can do with fewer


class Remote:
    """One model of one vendor. Opens no connection before it is asked.

    A model that answers with too many dimensions is asked again for as many as we have; one that cannot is refused.
    """

    lexical = False

    def __init__(
        self,
        vendor: Vendor,
        wire: EmbeddingWire,
        *,
        model: str,
        keys: tuple[str, ...] = (),
        guard: Guard | None = None,
    ) -> None:
        self.provider = vendor.name
        self.model = model
        self.dims = 0
        self._wire = wire
        self._slot = 0  # of the key that worked last; providers.md §3 P3.7
        self._shorten = model.rpartition("/")[2].startswith(LONG_MODELS)
        self._http = HttpProvider(vendor, chat.WIRE, keys=keys, timeout=WITHIN, guard=guard)

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        for text in texts:
            if len(text) > CHARS:
                said = f"a text of {len(text)} characters has no vector, {CHARS} are the most: split it"
                raise self._http.blame(ProviderError("context_overflow", said))
        worded = [text for text in texts if text.strip()]
        found = iter([vector for batch in batches(worded) for vector in await self._patiently(batch)])
        return [next(found) if text.strip() else padded(()) for text in texts]

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _patiently(self, texts: list[str]) -> list[Vector]:
        for number in range(1, ATTEMPTS + 1):
            try:
                return await self._vectors(texts, self._slot)
            except ProviderError as error:
                other_key = error.kind in ("auth", "rate_limit") and number < min(self._http.slots, ATTEMPTS)
                wait = 0.0 if other_key else delay(number, error)
                if wait is None:
                    raise
                self._slot += 1
            await trio.sleep(wait)
        raise AssertionError("the last attempt answers or raises")

    async def _vectors(self, texts: list[str], slot: int) -> list[Vector]:
        vectors = await self._ask(texts, slot, self._shorten)
        dims = self._dimensions(vectors, len(texts))
        if dims > DIMENSIONS and not self._shorten:
            try:
                vectors = await self._ask(texts, slot, shorten=True)
            except ProviderError as error:
                if error.kind != "format":
                    raise
                raise self._unfit(dims) from error
            dims = self._dimensions(vectors, len(texts))
            self._shorten = dims <= DIMENSIONS
        if dims > DIMENSIONS:
            raise self._unfit(dims)
        if self.dims not in (0, dims):
            raise self._broken(f"{self.model} answers with {dims} dimensions and had {self.dims} before")
        self.dims = dims
        await trio.lowlevel.checkpoint()  # a hundred vectors are 10 ms of reading and 5 of padding
        try:
            return [padded(vector) for vector in vectors]
        except ValueError as error:
            raise self._broken(str(error)) from error

    async def _ask(self, texts: list[str], slot: int, shorten: bool) -> Vectors:
        content = self._wire.write(self.model, texts, DIMENSIONS if shorten else None)
        with trio.move_on_after(WITHIN):
            response = await self._http.send("POST", self._wire.path, content, slot=slot)
            try:
                return self._wire.read(await read(response, ANSWER_LIMIT))
            except httpx.HTTPError as error:
                raise self._http.blame(weather(error)) from error
            except (*BROKEN, ValueError) as error:
                raise self._broken(f"no embeddings: {error}") from error
        raise self._http.blame(ProviderError("timeout", f"no embeddings within {WITHIN:g} s"))

    def _dimensions(self, vectors: Vectors, texts: int) -> int:
        sizes = sorted({len(vector) for vector in vectors})
        if len(vectors) != texts or len(sizes) != 1 or not sizes[0]:
            raise self._broken(f"{len(vectors)} vectors of {sizes} dimensions for {texts} texts")
        return sizes[0]

    def _broken(self, said: str) -> ProviderError:
        return self._http.blame(ProviderError("server_error", one_line(said)))

    def _unfit(self, dims: int) -> ProviderError:
        said = (
            f"{self.model} answers with {dims} dimensions, the database holds {DIMENSIONS}: choose a model with at most"
            " so many, such as text-embedding-3-small, or one that can be asked for fewer"
        )
        return self._http.blame(ProviderError("format", said))
