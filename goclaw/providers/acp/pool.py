"""Which agent answers in which session: one each, started when wanted, ended when idle. Contract: providers.md §7.1."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import trio
from msgspec.structs import replace

from goclaw.domain.chat import ChatRequest
from goclaw.domain.errors import ProviderError
from goclaw.providers.acp.agent import Agent
from goclaw.providers.conversation import Bookmark, Place, answered, clear, current, read_bookmark, write_bookmark
from goclaw.providers.program import AT_ONCE, Programs
from goclaw.settings.subprocess import AcpAgent


class Seat:
    """A session, and the agent that answers in it if one is running."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.wanted = 0  # prompts under way or waiting
        self.turn = trio.Semaphore(1)  # taken by a prompt, given back when it has ended
        self.agent: Agent | None = None
        self.mark = Bookmark()
        self.rest = trio.CancelScope()  # ends the wait for somebody who comes back


class Pool:
    """The seats of one provider. `timeout` bounds an answer, in seconds."""

    def __init__(
        self,
        name: str,
        settings: AcpAgent,
        home: Path,
        env: Mapping[str, str],
        programs: Programs,
        timeout: float,
    ) -> None:
        self.name = name
        self.timeout = timeout
        self.programs = programs
        self.models: tuple[str, ...] = ()
        self._settings = settings
        self._home = home
        self._env = env
        self._seats: dict[str, Seat] = {}

    def seat(self, place: Place) -> Seat:
        """Wanted from now on. Raises ProviderError if there are too many agents and all of them are busy."""
        seat = self._seats.get(place.name)
        if seat is None:
            if len(self._seats) >= AT_ONCE:
                idle = next((seat for seat in self._seats.values() if not seat.wanted), None)
                if idle is None:
                    raise ProviderError("overloaded", f"{self.name}: {AT_ONCE} agents are busy")
                self._dismiss(idle)
            seat = self._seats[place.name] = Seat(place)
        seat.wanted += 1
        seat.rest.cancel()
        return seat

    async def take(self, seat: Seat, ask: ChatRequest) -> tuple[Agent, bool]:
        """A living agent in the session of `seat`, whose turn is taken, and whether it remembers what was said.

        Raises ProviderError.
        """
        if not self._settings.binary:
            raise ProviderError("format", f"{self.name}: binary is not set")
        agent, remembers = seat.agent, True
        try:
            if agent is None or agent.dying:
                root = await trio.to_thread.run_sync(self._directory, seat.place)
                seat.mark = await trio.to_thread.run_sync(read_bookmark, self._file(seat))
                agent = seat.agent = Agent(self.programs, root, self._settings.perm_mode, self._env)
                await agent.start([self._settings.binary, *self._settings.args])
            seat.mark = current(seat.mark, ask)
            if agent.session != seat.mark.id or not agent.session:
                remembers = await agent.take_up(seat.mark.id)
                self.models = agent.models or self.models
                seat.mark = replace(seat.mark, id=agent.session)
                await self.keep(seat)
        except OSError as error:
            raise ProviderError("server_error", f"{self.name}: {error.filename}: {error.strerror}") from error
        await agent.choose(ask.model)
        return agent, remembers

    async def answered(self, seat: Seat, content: str) -> None:
        """Somebody has read this in the session. Raises OSError."""
        seat.mark = answered(seat.mark, content)
        await self.keep(seat)

    async def keep(self, seat: Seat) -> None:
        """Raises OSError."""
        if not seat.place.once:
            await trio.to_thread.run_sync(write_bookmark, self._file(seat), seat.mark)

    def leave(self, seat: Seat) -> None:
        """A prompt that waited for its turn waits no more, or one that had it is over."""
        seat.wanted -= 1
        if seat.wanted:
            return
        if seat.agent is None or seat.agent.dying or seat.place.once:
            self._dismiss(seat)
        else:
            seat.rest = trio.CancelScope()
            self.programs.start_soon(self._rest, seat, seat.rest)

    async def _rest(self, seat: Seat, rest: trio.CancelScope) -> None:
        with rest:
            await trio.sleep(self._settings.idle_ttl)
            self._dismiss(seat)

    def _dismiss(self, seat: Seat) -> None:
        """Its agent ends, the bookmark stays."""
        if seat.agent is not None:
            seat.agent.end()
        if seat.place.once:
            self.programs.start_soon(self._clear, seat)
        if self._seats.get(seat.place.name) is seat:
            del self._seats[seat.place.name]

    async def _clear(self, seat: Seat) -> None:
        if seat.agent is not None:
            await seat.agent.ended()
        await trio.to_thread.run_sync(clear, self._home / seat.place.name)

    def _file(self, seat: Seat) -> Path:
        return self._home / f"{seat.place.name}.session"

    def _directory(self, place: Place) -> Path:
        """Where the agent of `place` works. Raises OSError."""
        given = self._settings.work_dir
        root = Path(given).expanduser() if given and not place.once else self._home / place.name
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        return root.resolve()
