"""Programs beside us: each in a process group of its own, lines out of it, bytes into it, and a certain end.

Contract: providers.md §7.1 (env, kill), config-cli.md §3 S3.9, §11.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT

import structlog
import trio

from goclaw.domain.errors import ProviderError
from goclaw.providers.trouble import one_line

AT_ONCE = 32  # of one provider; our decision
GRACE = 5.0  # seconds between two steps of the ladder; providers.md §7.1
LINE = 4 * 2**20  # bytes of one line; our decision
PIECE = 65_536  # bytes read at once
LINES = 32  # waiting for whoever reads them; as many messages wait for the program
TAIL = 4096  # bytes of its error output that are kept
FAREWELL = 10.0  # seconds for reading what it said before it ended
KEPT = re.compile(  # variables a program gets; tools.md §15's allow-list and what reaching a vendor takes
    r"PATH|HOME|LANG|LC_\w+|TZ|TERM|USER|LOGNAME|SHELL|TMPDIR|XDG_\w+|SSL_CERT_(?:FILE|DIR)|NODE_EXTRA_CA_CERTS"
    r"|(?:HTTPS?|ALL|NO)_PROXY",
    re.IGNORECASE,
)

log = structlog.get_logger()


def environment(given: Mapping[str, str], also: frozenset[str] = frozenset()) -> dict[str, str]:
    """The part of `given` that a program may see: no key, no token, nothing of the gateway."""
    return {name: value for name, value in given.items() if KEPT.fullmatch(name) or name in also}


@contextmanager
def in_time(deadline: float, name: str, timeout: float) -> Iterator[None]:
    """What is done here ends at `deadline`, on trio's clock, with a ProviderError."""
    with trio.move_on_at(deadline) as limit:
        yield
    if limit.cancelled_caught:
        raise ProviderError("timeout", f"{name}: no answer within {timeout:g} s")


class Lines:
    """Bytes in, whole lines out, however they are cut. Raises ValueError for a line longer than `limit` bytes."""

    def __init__(self, limit: int = LINE) -> None:
        self._limit = limit
        self._rest = bytearray()

    def feed(self, data: bytes | bytearray) -> list[bytes]:
        *whole, rest = bytes(data).split(b"\n")
        if whole:
            whole[0] = bytes(self._rest) + whole[0]
            self._rest.clear()
        self._rest += rest
        if max((len(self._rest), *map(len, whole))) > self._limit:
            raise ValueError(f"a line of more than {self._limit} bytes")
        return [line for line in whole if line.strip()]

    def finish(self) -> list[bytes]:
        """What came after the last newline."""
        rest = bytes(self._rest)
        self._rest.clear()
        return [rest] if rest.strip() else []


class Program:
    """One of them, made by `Programs.start`. `lines` ends when it has said its last word."""

    def __init__(
        self,
        process: trio.Process,
        name: str,
        grace: float,
        polite: signal.Signals | None,
        raw: bool,
        apart: bool = False,
    ) -> None:
        self.name = name
        self.pid = process.pid
        self.over = trio.Event()  # it is gone, and with it its whole group
        self.returncode: int | None = None
        self.trouble = ""  # why we ended it, if it gave a reason
        self._process = process
        self._grace = grace
        self._polite = polite
        self._raw = raw
        self._gone = os.pidfd_open(process.pid)
        self._told = trio.Event()
        self._exited = trio.Event()
        self._tail = b""
        self._heard, self.lines = trio.open_memory_channel[bytes](LINES)
        self._apart = apart
        self._complained, self.errors = trio.open_memory_channel[bytes](LINES)
        self._said, self._outgoing = trio.open_memory_channel[bytes](LINES)

    @property
    def dying(self) -> bool:
        """It has ended, or is about to."""
        return self._told.is_set() or self._exited.is_set()

    async def send(self, data: bytes) -> None:
        """Hand over `data`, whole; waits for room. Nothing happens if it does not listen any more."""
        try:
            await self._said.send(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.lowlevel.checkpoint()

    def close_input(self) -> None:
        """It gets nothing more than what was handed over."""
        self._said.close()

    def end(self) -> None:
        """Have it ended by the ladder. Does not wait; `over` tells."""
        self._told.set()

    def strike(self, which: signal.Signals) -> None:
        """Send it and its group a signal, if it still runs."""
        if not self._exited.is_set():
            self._signal(which)

    async def obituary(self) -> ProviderError:
        """What to say of a program that is gone before it had answered."""
        with trio.move_on_after(3 * self._grace):
            await self.over.wait()
        said = self.last_words
        how = self.trouble or (
            "ended" if self.returncode is None else f"was ended by {signal_name(-self.returncode)}"
            if self.returncode < 0 else f"ended with exit code {self.returncode}"
        )  # fmt: skip
        return ProviderError("server_error", one_line(f"{self.name} {how}" + (f": {said}" if said else "")))

    @property
    def last_words(self) -> str:
        """The end of what it wrote to its error output."""
        return self._tail.decode("utf-8", "replace").strip()

    # --- its life, in the nursery of `Programs` -----------------------------------------------

    async def attend(self, beside: Callable[[Program], Awaitable[None]] | None) -> None:
        """Until it and its group are gone: by themselves, because of `end`, or because we are cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                if not self._apart:
                    nursery.start_soon(self._keep_tail)
                nursery.start_soon(self._write)
                nursery.start_soon(self._mourn, nursery.cancel_scope)
                nursery.start_soon(self._heed, nursery.cancel_scope)
                async with trio.open_nursery() as talk:
                    talk.start_soon(self._read)
                    if self._apart:
                        talk.start_soon(self._read_errors)
                    if beside is not None:
                        talk.start_soon(beside, self)
                with trio.move_on_after(self._grace):  # it said its last word, so it is about to end
                    await self._exited.wait()
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await self._bury()

    async def _bury(self) -> None:
        """TERM and, at the latest 5 s later, KILL for the whole group. Its number is ours until it is reaped."""
        if not self._exited.is_set():
            self._signal(signal.SIGTERM)
            with trio.move_on_after(self._grace):
                await trio.lowlevel.wait_readable(self._gone)
        self._signal(signal.SIGKILL)
        with trio.move_on_after(self._grace):  # nothing kills what hangs in the kernel
            self.returncode = await self._process.wait()
        for end in (self._heard, self._complained, self._said, self._outgoing):
            end.close()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                await pipe.aclose()
        trio.lowlevel.notify_closing(self._gone)
        os.close(self._gone)
        self._told.set()
        self._exited.set()
        self.over.set()
        log.debug("program.ended", program=self.name, pid=self.pid, code=self.returncode, said=self.last_words[-500:])

    def _signal(self, which: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):  # all of them are gone, or became somebody else
            os.killpg(self.pid, which)

    async def _mourn(self, life: trio.CancelScope) -> None:
        """When it ends by itself, what it left behind ends with it; what it said may still be read."""
        await trio.lowlevel.wait_readable(self._gone)
        self._exited.set()
        self._signal(signal.SIGKILL)
        await trio.sleep(FAREWELL)
        life.cancel()

    async def _heed(self, life: trio.CancelScope) -> None:
        await self._told.wait()
        if self._polite is not None and not self._exited.is_set():
            self._signal(self._polite)
            with trio.move_on_after(self._grace):
                await self._exited.wait()
        life.cancel()

    async def _read(self) -> None:
        lines, wanted = Lines(), True
        assert self._process.stdout is not None
        with self._heard:
            while data := await self._process.stdout.receive_some(PIECE):
                try:
                    for line in () if not wanted else [bytes(data)] if self._raw else lines.feed(data):
                        await self._heard.send(line)
                except trio.BrokenResourceError:
                    wanted = False  # nobody reads it any more; it may go on writing until it ends
                except ValueError as error:
                    self.trouble = f"wrote {error}"
                    self.end()
                    return
            for line in lines.finish() if wanted else ():
                try:
                    await self._heard.send(line)
                except trio.BrokenResourceError:
                    return

    async def _write(self) -> None:
        pipe = self._process.stdin
        if pipe is None:
            return
        try:
            async for data in self._outgoing:
                await pipe.send_all(data)
        except trio.BrokenResourceError:
            self._outgoing.close()
        await pipe.aclose()

    async def _read_errors(self) -> None:
        pipe = self._process.stderr
        with self._complained:
            while pipe is not None and (data := await pipe.receive_some(PIECE)):
                with suppress(trio.BrokenResourceError):  # nobody reads it any more
                    await self._complained.send(bytes(data))

    async def _keep_tail(self) -> None:
        pipe = self._process.stderr
        while pipe is not None and (data := await pipe.receive_some(PIECE)):
            self._tail = (self._tail + data)[-TAIL:]


class Programs:
    """The programs of one provider. They run while `live` does, and none outlives it. `grace` is in seconds."""

    def __init__(self, grace: float = GRACE) -> None:
        self.grace = grace
        self._up = trio.Event()
        self._closed = trio.Event()
        self._nursery: trio.Nursery | None = None

    async def live(self) -> None:
        try:
            async with trio.open_nursery() as self._nursery:
                self._up.set()
                await self._closed.wait()
                self._nursery.cancel_scope.cancel()
        finally:
            self._closed.set()
            self._nursery = None

    def close(self) -> None:
        self._closed.set()

    async def start(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        polite: signal.Signals | None = None,
        beside: Callable[[Program], Awaitable[None]] | None = None,
        input: bool = True,
        raw: bool = False,
        apart: bool = False,
        hand_over: Sequence[int] = (),
    ) -> Program:
        """Start one. `polite` is the signal its ladder begins with; `beside` runs as long as it has lines.

        `raw`: its lines are pieces of its output as it comes, errors included unless they are kept `apart`, in
        `errors`. It gets the descriptors `hand_over`. Raises ProviderError if it cannot be started.
        """
        with trio.move_on_after(self.grace):
            await self._up.wait()
        if self._nursery is None or self._closed.is_set():
            raise ProviderError("server_error", f"{command[0]} cannot be started: its provider is being stopped")
        program: Program = await self._nursery.start(
            partial(self._run, apart=apart, hand_over=hand_over), command, cwd, env, polite, beside, input, raw
        )
        return program

    def start_soon(self, work: Callable[..., Awaitable[object]], *args: object) -> bool:
        """Have something done that must not hold up whoever wants it. False: it is too late for that."""
        if self._nursery is None or self._closed.is_set():
            return False
        self._nursery.start_soon(work, *args)
        return True

    async def _run(
        self,
        command: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        polite: signal.Signals | None,
        beside: Callable[[Program], Awaitable[None]] | None,
        input: bool,
        raw: bool,
        *,
        apart: bool,
        hand_over: Sequence[int],
        task_status: trio.TaskStatus[Program],
    ) -> None:
        try:
            process = await trio.lowlevel.open_process(
                list(command),
                stdin=PIPE if input else DEVNULL,
                stdout=PIPE,
                stderr=STDOUT if raw and not apart else PIPE,
                cwd=cwd,
                env=dict(env),
                start_new_session=True,
                pass_fds=hand_over,
            )
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise ProviderError("unknown", one_line(f"{command[0]} cannot be started: {why}")) from error
        try:
            program = Program(process, Path(command[0]).name, self.grace, polite, raw, apart)
        except OSError as error:  # no descriptor is left to watch it with
            process.kill()
            raise ProviderError("server_error", f"{command[0]} cannot be watched: {error.strerror}") from error
        log.debug("program.started", program=program.name, pid=program.pid)
        task_status.started(program)
        await program.attend(beside)


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
