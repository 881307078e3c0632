"""One prompt and its answer. Contract: providers.md §7.1."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import trio

from goclaw.domain.chat import ChatRequest, ChatResponse, FinishReason, StreamChunk, Usage
from goclaw.domain.errors import ProviderError
from goclaw.domain.model import OwnTool
from goclaw.providers.acp.agent import Agent, Stopped
from goclaw.providers.acp.pool import Pool, Seat
from goclaw.providers.acp.updates import Piece
from goclaw.providers.conversation import estimated, instructions, news, pictures, retold
from goclaw.providers.program import in_time
from goclaw.providers.provider import Tell
from goclaw.providers.reader import BODY_LIMIT

PIECES = 32  # waiting for whoever reads the answer
FINISH: dict[str, FinishReason] = {"max_tokens": "length", "maxContextLength": "length"}


class Answer:
    """The prompt runs in a task of the provider, so that whoever asked may leave at any moment."""

    def __init__(self, pool: Pool, seat: Seat, ask: ChatRequest, tell: Tell) -> None:
        self._pool = pool
        self._seat = seat
        self._ask = ask
        self._deadline = trio.current_time() + pool.timeout
        self._tell = tell
        self._agent: Agent | None = None  # that was prompted
        self._seated = False
        self._first: StreamChunk | None = None
        self._done: ChatResponse | None = None
        self._send, self._receive = trio.open_memory_channel[Piece](PIECES)
        self._prompting = trio.CancelScope()
        self._over = trio.Event()
        self._end: Stopped | ProviderError | None = None
        self._size = 0
        self._content: list[str] = []
        self._thinking: list[str] = []

    async def start(self) -> None:
        """Wait for the first chunk. Raises ProviderError."""
        with in_time(self._deadline, self._pool.name, self._pool.timeout):
            await self._seat.turn.acquire()
            self._seated = True
            agent, remembers = await self._pool.take(self._seat, self._ask)
            if not self._pool.programs.start_soon(self._prompt, agent, self._blocks(agent, remembers)):
                raise self._stopping()
            self._agent = agent
            self._first = await self._next()

    def __aiter__(self) -> AsyncIterator[StreamChunk]:
        return self

    async def __anext__(self) -> StreamChunk:
        chunk, self._first = self._first, None
        if chunk is None and self._done is not None:
            raise StopAsyncIteration
        if chunk is None:
            with in_time(self._deadline, self._pool.name, self._pool.timeout):
                chunk = await self._next()
        return chunk

    def leave(self) -> None:
        """Whoever asked wants nothing more. Does not wait: an agent in mid-answer is seen to by the provider."""
        self._receive.close()
        self._send.close()
        if self._agent is None or self._over.is_set():
            self._give_back(fit=self._agent is not None or not self._seated)
        elif not self._pool.programs.start_soon(self._settle):
            self._give_back(fit=False)

    async def _settle(self) -> None:
        """Ask the agent to stop; one that does not within the ladder's step comes to its end."""
        assert self._agent is not None
        with trio.move_on_after(self._pool.programs.grace):
            await self._agent.interrupt()
            await self._over.wait()
        fit = self._over.is_set()
        self._prompting.cancel()
        self._give_back(fit=fit)

    def _give_back(self, *, fit: bool) -> None:
        """The next one may prompt. An agent that is not `fit` for it ends."""
        if not fit and self._seat.agent is not None:
            self._seat.agent.end()
        if self._seated:
            self._seat.turn.release()
        self._pool.leave(self._seat)

    async def _prompt(self, agent: Agent, blocks: list[dict[str, Any]]) -> None:
        try:
            with self._prompting, self._send:
                self._end = await agent.prompt(blocks, self._send)
        except ProviderError as error:
            self._end = error
        finally:
            self._over.set()

    async def _next(self) -> StreamChunk:
        while True:
            try:
                piece = await self._receive.receive()
            except trio.EndOfChannel:
                await self._over.wait()
                self._done = await self._whole()
                return StreamChunk(done=self._done)
            if isinstance(piece, OwnTool):
                self._tell(piece)
                continue
            self._size += len(piece.content) + len(piece.thinking)
            if self._size > BODY_LIMIT:
                raise ProviderError("server_error", f"{self._pool.name}: the answer is larger than {BODY_LIMIT} bytes")
            self._content.append(piece.content)
            self._thinking.append(piece.thinking)
            return piece

    async def _whole(self) -> ChatResponse:
        """The whole answer. Raises ProviderError if there is none."""
        end, name = self._end, self._pool.name
        if end is None:
            raise self._stopping()
        if isinstance(end, ProviderError):
            raise end
        if end.stop_reason == "refusal":
            raise ProviderError("content_policy", f"{name}: the agent refuses to answer")
        if end.stop_reason == "cancelled":
            raise ProviderError("cancelled", f"{name}: the agent cancelled its answer")
        content, thinking = "".join(self._content), "".join(self._thinking)
        if not content and not thinking:
            raise ProviderError("server_error", f"{name}: an empty answer")
        try:
            await self._pool.answered(self._seat, content)
        except OSError as error:
            raise ProviderError("server_error", f"{name}: {error.filename}: {error.strerror}") from error
        return ChatResponse(
            content=content,
            thinking=thinking,
            finish_reason=FINISH.get(end.stop_reason, "stop"),
            usage=self._usage(end, content + thinking),
        )

    def _usage(self, end: Stopped, said: str) -> Usage:
        spent = end.usage
        if spent is None:
            return estimated(self._ask, said)
        read, written, thought = (
            spent.cached_read_tokens or 0,
            spent.cached_write_tokens or 0,
            spent.thought_tokens or 0,
        )
        return Usage(
            prompt_tokens=spent.input_tokens + read + written,
            completion_tokens=spent.output_tokens + thought,
            thinking_tokens=thought,
            cache_read_tokens=read,
            cache_write_tokens=written,
        )

    def _blocks(self, agent: Agent, remembers: bool) -> list[dict[str, Any]]:
        """What is new, or for an agent that knows nothing of the conversation all of it."""
        messages = self._ask.messages
        text = news(messages, self._seat.mark)
        if not remembers:
            text = "\n\n".join(part for part in (instructions(self._ask), retold(messages)) if part)
        images = pictures(messages) if agent.takes_images else []
        return [
            {"type": "text", "text": text},
            *({"type": "image", "mimeType": image.media_type, "data": image.data} for image in images),
        ]

    def _stopping(self) -> ProviderError:
        return ProviderError("server_error", f"{self._pool.name} is being stopped")
