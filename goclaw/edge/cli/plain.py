"""A chat line by line: for pipes, and for terminals that cannot do more. Contract: config-cli.md §7.2, §8.

Answers go to stdout, all else to stderr.
"""

from __future__ import annotations

import signal
import sys

import trio
import typer

from goclaw.edge.cli.conversation import Conversation, Style
from goclaw.edge.cli.options import Exit, Failure, Options
from goclaw.edge.cli.talk import Talk, Verdict, first

ANSWERS: tuple[Style, ...] = ("agent", "reply")
QUIT = ("/quit", "/exit")
VERDICTS: dict[str, Verdict] = {"y": "once", "a": "always", "n": "no"}


class Sheet:
    """A `Paper` that is printed."""

    def __init__(self) -> None:
        self.news = trio.Event()
        self._open = False

    def line(self, style: Style, text: str) -> None:
        self.end()
        typer.echo(text, err=style not in ANSWERS)
        self.stir()

    def stream(self, text: str) -> None:
        typer.echo(text, nl=False)
        self._open = self._open or bool(text)

    def end(self) -> None:
        if self._open:
            typer.echo()
        self._open = False

    def stir(self) -> None:
        self.news.set()
        self.news = trio.Event()


class PlainChat:
    def __init__(self, options: Options, agent: str, session: str) -> None:
        self.sheet = Sheet()
        self.conversation = Conversation(self.sheet)
        self.code = Exit.OK
        self.person = sys.stdin.isatty()
        self.talk = Talk(options, self.conversation, agent, session, remember=self.person)
        self._open = 0  # messages without an answer

    async def run(self) -> Exit:
        """Until the input ends. FAILED if a turn did."""
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.talk.live)
                nursery.start_soon(self._interrupts, nursery)
                while line := await self._read():
                    if (text := line.strip()) in QUIT:
                        break
                    if text in VERDICTS and self.conversation.approvals:
                        await self.talk.verdict(next(iter(self.conversation.approvals)), VERDICTS[text])
                    elif text:
                        self._open += 1
                        nursery.start_soon(self._say, text)
                    await self._settled()
                self.person = False  # nobody is there to answer any more
                await self._settled()
                nursery.cancel_scope.cancel()
        except* Failure as group:
            raise first(group) from None
        return self.code

    async def _say(self, text: str) -> None:
        if not await self.talk.say(text):
            self.code = Exit.FAILED
        self._open -= 1
        self.sheet.end()
        self.sheet.stir()

    async def _settled(self) -> None:
        """Until nothing works, or somebody has to answer first."""
        while self._open and not (self.person and self.conversation.approvals):
            await self.sheet.news.wait()

    async def _read(self) -> str:
        if self.person:
            typer.echo("allow? y once, a always, n no: " if self.conversation.approvals else "> ", nl=False, err=True)
        return await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)

    async def _interrupts(self, nursery: trio.Nursery) -> None:
        """Ctrl-C stops what works, else it ends the chat."""
        with trio.open_signal_receiver(signal.SIGINT) as signals:
            async for _ in signals:
                if self._open:
                    nursery.start_soon(self.talk.stop)
                else:
                    nursery.cancel_scope.cancel()
