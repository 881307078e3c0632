"""The offline model behind the same face as a vendor: opens no socket, costs nothing, says what it is.

Contract: providers.md §16. Models: `offline-1` (rules), `offline-echo`, `offline-load`, `offline-script:<name>`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import trio
from msgspec import Struct

from goclaw.domain.chat import ChatRequest, ChatResponse, StreamChunk, ToolCall, Usage
from goclaw.domain.errors import ProviderError
from goclaw.domain.tokens import CHARS, estimate, estimate_prompt
from goclaw.providers.offline.answer import answer, since_user
from goclaw.providers.offline.plan import by_name, unmarked
from goclaw.providers.offline.purposes import last_user
from goclaw.providers.offline.reply import Pace, Reply
from goclaw.providers.offline.script import Player, load_script
from goclaw.providers.provider import Tell, silent
from goclaw.providers.retry import patient

BANNER = "[offline mode: no language model is configured; answers come from fixed rules]"
SCRIPT = re.compile(r"[A-Za-z0-9_-]{1,64}")
PREFIX = "offline-script:"
SCRIPTS = 100  # kept open
WORD = "word "  # one of these is about a token


class Load(Struct, frozen=True, kw_only=True):
    """What `offline-load` answers; providers.md §16.6."""

    tokens: int = 200
    tools: int = 0  # calls of `datetime` before the answer, one per model call
    thinking_tokens: int = 0


class Offline:
    """`rules` is a script tried before the built-in rules; `scripts` is a folder of them by name.

    Raises ValueError if `rules` exists and is no script.
    """

    name = "offline"
    kind = "offline"
    default_model = "offline-1"

    def __init__(
        self,
        *,
        pace: Pace = Pace(),  # noqa: B008 - frozen
        load: Load = Load(),  # noqa: B008 - frozen
        banner: bool = True,
        rules: Path | None = None,
        scripts: Path | None = None,
    ) -> None:
        self.pace = pace
        self.load = load
        self.banner = banner
        self._rules = Player(load_script(rules)) if rules is not None and rules.exists() else None
        self._folder = scripts
        self._players: dict[str, tuple[int, Player]] = {}  # by name; when the file changes, so does the number

    slots = 1

    def stream(
        self, ask: ChatRequest, *, slot: int = 0, tell: Tell = silent
    ) -> AbstractAsyncContextManager[AsyncIterator[StreamChunk]]:
        return patient(lambda: _Recital(self, ask), tell=tell)

    async def models(self, *, fresh: bool = False) -> list[str]:
        files = sorted(self._folder.glob("*.json5")) if self._folder is not None else []
        return ["offline-1", "offline-echo", "offline-load", *(PREFIX + path.stem for path in files)]

    async def aclose(self) -> None:
        pass

    def reply(self, ask: ChatRequest) -> Reply:
        """What to answer. Only scripts remember what was asked before."""
        model = ask.model or self.default_model
        name = ask.metadata.get("offline_script") or (model.startswith(PREFIX) and model.removeprefix(PREFIX))
        if name:
            reply = self._player(str(name)).reply(ask)
            if reply is None:
                raise ProviderError("format", f"offline: the script {name} has no rule for this turn")
            return reply
        match model:
            case "offline-1":
                return (self._rules and self._rules.reply(ask)) or answer(ask)
            case "offline-echo":
                return Reply(rule="echo", text=unmarked(last_user(ask.messages)) or "…")
            case "offline-load":
                return self._loaded(ask)
        raise ProviderError("model_not_found", f"offline: no model named {model[:80]}", status=404)

    def _loaded(self, ask: ChatRequest) -> Reply:
        called = sum(bool(message.tool_calls) for message in since_user(ask.messages))
        clock = by_name(ask.tools).get("datetime")
        if called < self.load.tools and clock is not None:
            turn = sum(message.role == "user" for message in ask.messages)
            return Reply(rule="load", calls=(ToolCall(id=f"call_{turn}_{called + 1}_1", name=clock.name),))
        thinking = WORD * self.load.thinking_tokens
        return Reply(rule="load", text=WORD * self.load.tokens, thinking=thinking)

    def _player(self, name: str) -> Player:
        """The script of that name, read again when its file has changed."""
        if self._folder is None or not SCRIPT.fullmatch(name):
            raise ProviderError("format", f"offline: no script named {name[:80]}")
        path = self._folder / f"{name}.json5"
        try:
            changed = path.stat().st_mtime_ns
            if self._players.get(name, (0,))[0] != changed:
                if len(self._players) >= SCRIPTS:
                    self._players.clear()
                self._players[name] = changed, Player(load_script(path))
        except (OSError, ValueError) as error:
            raise ProviderError("format", f"offline: no script named {name}: {error}") from error
        return self._players[name][1]


class _Recital:
    """One reply on its way out."""

    def __init__(self, provider: Offline, ask: ChatRequest) -> None:
        self._provider = provider
        self._ask = ask
        self._chunks: Iterator[StreamChunk] = iter(())
        self._first: StreamChunk | None = None

    async def start(self) -> None:
        reply = self._provider.reply(self._ask)
        self._pace = reply.pace or self._provider.pace
        self._chunks = self._perform(reply)
        await trio.sleep(self._pace.first_delay)
        self._first = next(self._chunks)

    def __aiter__(self) -> AsyncIterator[StreamChunk]:
        return self

    async def __anext__(self) -> StreamChunk:
        if self._first is not None:
            chunk, self._first = self._first, None
            return chunk
        try:
            chunk = next(self._chunks)
        except StopIteration:
            raise StopAsyncIteration from None
        delay = self._pace.chunk_delay
        if self._pace.tokens_per_second:
            delay += estimate(chunk.content or chunk.thinking) / self._pace.tokens_per_second
        await trio.sleep(delay)
        return chunk

    async def aclose(self) -> None:
        pass

    def _perform(self, reply: Reply) -> Iterator[StreamChunk]:
        """The chunks of `reply`, the last with the whole answer, or as many as come before its error."""
        text = self._text(reply)
        size = self._pace.chunk_chars
        chunks = [StreamChunk(thinking=piece) for piece in pieces(reply.thinking, size)]
        chunks += [StreamChunk(content=piece) for piece in pieces(text, size)]
        if reply.error is not None:
            yield from chunks[: self._pace.fail_after or 0]
            raise reply.error
        yield from chunks
        said = estimate(text) + estimate(reply.thinking) + sum(estimate(call.name) + CHARS for call in reply.calls)
        prompt = estimate_prompt(self._ask.messages, self._ask.tools)
        yield StreamChunk(
            done=ChatResponse(
                content=text,
                thinking=reply.thinking,
                tool_calls=reply.calls,
                finish_reason=reply.finish_reason or ("tool_calls" if reply.calls else "stop"),
                usage=reply.usage or Usage(prompt_tokens=prompt, completion_tokens=said, estimated=True),
                offline=True,
                rule=reply.rule,
            )
        )

    def _text(self, reply: Reply) -> str:
        """The text, with the banner if it is the first a person reads in this session; providers.md §16.1 O2."""
        spoken_before = any(m.role == "assistant" and m.content for m in self._ask.messages)
        if not self._provider.banner or not reply.spoken or not reply.text or spoken_before:
            return reply.text
        return f"{BANNER}\n\n{reply.text}"


def pieces(text: str, size: int) -> Iterator[str]:
    """`text` in pieces of at most `size` characters, cut after a space where there is one."""
    start = 0
    while len(text) - start > size:
        space = text.rfind(" ", start, start + size)
        stop = space + 1 if space >= start else start + size
        yield text[start:stop]
        start = stop
    if start < len(text):
        yield text[start:]
