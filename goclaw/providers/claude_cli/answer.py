"""One prompt and its answer, which is one life of the program. Contract: providers.md §7.2."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import trio
from msgspec.structs import replace

from goclaw.domain.chat import ChatRequest, ChatResponse, StreamChunk
from goclaw.domain.errors import ProviderError
from goclaw.domain.model import OwnTool
from goclaw.providers.claude_cli.arguments import ARGUMENT, command, message_line, session_id
from goclaw.providers.claude_cli.events import Events, failure
from goclaw.providers.conversation import (
    Bookmark,
    Place,
    answered,
    current,
    estimated,
    instructions,
    news,
    pictures,
    read_bookmark,
    retold,
    write_bookmark,
)
from goclaw.providers.program import Program, in_time
from goclaw.providers.provider import Tell
from goclaw.providers.reader import BODY_LIMIT
from goclaw.security.paths import PathRefused, Workspace

if TYPE_CHECKING:
    from goclaw.providers.claude_cli.provider import ClaudeCli

CONTEXT = "CLAUDE.md"  # what the program reads in the directory it works in
LARGEST = 2**20  # bytes of it that are compared
LOST = "no conversation found"  # the program has forgotten the session
TAKEN = "already in use"  # … or remembers it although we do not


class Answer:
    """The turn of its session is taken. `program` is to be ended by whoever owns this."""

    def __init__(
        self, provider: ClaudeCli, place: Place, ask: ChatRequest, model: str, deadline: float, tell: Tell
    ) -> None:
        self.program: Program | None = None
        self._provider = provider
        self._place = place
        self._ask = ask
        self._model = model
        self._deadline = deadline
        self._tell = tell
        self._file = provider.base / f"{place.name}.session"
        self._mark = Bookmark()
        self._id = ""
        self._events = Events(provider.name)
        self._ready: deque[StreamChunk] = deque()
        self._size = 0  # bytes read
        self._over = False

    async def start(self) -> None:
        """Wait for the first chunk. Raises ProviderError."""
        root = await self._prepare()
        try:
            await self._run(root)
        except ProviderError as error:
            said = error.message.lower()
            if not self._events.silent or not (LOST in said or TAKEN in said) or self.program is None:
                raise
            await self.program.over.wait()
            self._mark = replace(self._mark, id="" if LOST in said else self._id)
            await self._run(root)

    def __aiter__(self) -> AsyncIterator[StreamChunk]:
        return self

    async def __anext__(self) -> StreamChunk:
        if not self._ready:
            if self._over:
                raise StopAsyncIteration
            with in_time(self._deadline, self._provider.name, self._provider.timeout):
                await self._fill()
        return self._ready.popleft()

    async def _prepare(self) -> Path:
        """The directory of the session, with what the program is told before the conversation."""
        try:
            root = await trio.to_thread.run_sync(prepare, self._provider.base, self._place, instructions(self._ask))
            if self._place.once:
                self._id = str(uuid4())
            else:
                self._mark = current(await trio.to_thread.run_sync(read_bookmark, self._file), self._ask)
                self._id = str(session_id(self._place.key, self._mark.resets))
        except PathRefused as refusal:
            raise ProviderError("server_error", f"{self._provider.name}: {CONTEXT}: {refusal}") from None
        except OSError as error:
            raise self._blame(error) from error
        return root

    async def _run(self, root: Path) -> None:
        """Call the program and wait for its first word."""
        provider, messages, images = self._provider, self._ask.messages, pictures(self._ask.messages)
        text = news(messages, self._mark) if self._mark.id == self._id else retold(messages)
        piped = bool(images) or len(text.encode("utf-8", "replace")) > ARGUMENT
        words = command(
            provider.path,
            model=self._model,
            perm_mode=provider.settings.perm_mode,
            mark=self._mark,
            id=self._id,
            message=text,
            piped=piped,
            tools=not self._place.once,
        )
        self._events = Events(provider.name)
        self.program = await provider.start(words, root, piped=piped)
        if piped:
            await self.program.send(message_line(text, images))
            self.program.close_input()
        await self._fill()

    async def _fill(self) -> None:
        """Read until there is something to hand out. Raises ProviderError."""
        assert self.program is not None
        while not self._ready:
            try:
                line = await self.program.lines.receive()
            except trio.EndOfChannel:
                self._ready.append(StreamChunk(done=await self._whole()))
                return
            self._size += len(line)
            if self._size > BODY_LIMIT:
                name = self._provider.name
                raise ProviderError("server_error", f"{name}: the answer is larger than {BODY_LIMIT} bytes")
            for piece in self._events.feed(line):
                if isinstance(piece, OwnTool):
                    self._tell(piece)
                else:
                    self._ready.append(piece)
            if self._events.begun and self._mark.id != self._id:
                await self._keep(replace(self._mark, id=self._id))

    async def _whole(self) -> ChatResponse:
        assert self.program is not None
        whole = self._events.finish()
        if whole is None:
            obituary = await self.program.obituary()
            why = self.program.last_words
            raise failure(self._provider.name, why) if why and not self.program.trouble else obituary
        self._over = True
        await self._keep(answered(self._mark, whole.content))
        if whole.usage.estimated:
            return replace(whole, usage=estimated(self._ask, whole.content + whole.thinking))
        return whole

    async def _keep(self, mark: Bookmark) -> None:
        self._mark = mark
        if self._place.once:
            return
        try:
            await trio.to_thread.run_sync(write_bookmark, self._file, mark)
        except OSError as error:
            raise self._blame(error) from error

    def _blame(self, error: OSError) -> ProviderError:
        return ProviderError("server_error", f"{self._provider.name}: {error.filename}: {error.strerror}")


def prepare(base: Path, place: Place, context: str) -> Path:
    """Make the directory of `place`; its context file is written only when it changed.

    The program works there, so what it may have put in the file's place is not followed out of it.
    Raises OSError and PathRefused.
    """
    root = base / place.name
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    root = root.resolve()
    workspace, wanted = Workspace(root), context.encode("utf-8", "replace")
    if wanted and wanted != _content(workspace):
        workspace.write(CONTEXT, wanted)
    return root


def _content(workspace: Workspace) -> bytes:
    try:
        with workspace.open(CONTEXT) as file, open(file, "rb", closefd=False) as stream:
            return stream.read(LARGEST)
    except FileNotFoundError:
        return b""
