"""`goclaw chat` on a whole terminal. Contract: config-cli.md §8.

prompt_toolkit runs on asyncio and the gateway's client on trio: trio is a guest in the loop of the screen, one thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio
from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.data_structures import Point
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import (
    ConditionalContainer,
    Float,
    FloatContainer,
    FormattedTextControl,
    HSplit,
    Layout,
    VSplit,
    Window,
)
from prompt_toolkit.layout.menus import CompletionsMenu
from prompt_toolkit.output import Output
from prompt_toolkit.styles import Style
from prompt_toolkit.widgets import TextArea

from goclaw.edge.cli.conversation import Conversation, plain
from goclaw.edge.cli.options import Failure, Options
from goclaw.edge.cli.page import Page
from goclaw.edge.cli.talk import Talk, Verdict, first

if TYPE_CHECKING:
    import outcome

WIDE = 100  # columns from which there is room for the panel …
PANEL = 30  # … of so many
LOOK = 5.0  # seconds between two looks at the gateway
TWICE = 2.0  # seconds in which Ctrl-C counts as twice
HALF = 10  # lines of PgUp
QUIT, CLEAR = ("/quit", "/exit"), "/clear"
KEYS = "Ctrl-C stops, twice quits; PgUp and PgDn scroll; Tab completes; /clear, /quit; y, a, n answer what waits"
VERDICTS: dict[str, Verdict] = {"y": "once", "a": "always", "n": "no"}
WORDS = (
    *("/help", "/status", "/status run", "/stop", "/stopall", "/reset", "/compact", "/context", "/agents", "/agent"),
    *("/model", "/locks", "/queue", "/config get", "/reload", "/approve", "/deny", "/estop", CLEAR, "/quit"),
)
COLOURS = Style.from_dict(
    {
        "you": "bold ansicyan",
        "tool": "ansibrightblack",
        "note": "italic ansibrightblack",
        "error": "ansired",
        "ask": "bold ansiyellow",
        "bar": "reverse",
    }
)


class Screen:
    def __init__(
        self, options: Options, agent: str, session: str, *, input: Input | None = None, output: Output | None = None
    ) -> None:
        self.page = Page(self._changed)
        self.conversation = Conversation(self.page)
        self.talk = Talk(options, self.conversation, agent, session, remember=True)
        self.queue: dict[str, Any] = {}  # queue.stats
        self._agents: list[str] = []
        self._soon: Callable[..., None] = lambda *_: None  # what trio shall do
        self._interrupted = 0.0
        self.input = TextArea(
            prompt="> ",
            height=1,
            multiline=False,
            history=InMemoryHistory(),
            completer=WordCompleter(self._words, sentence=True),
            complete_while_typing=False,
            accept_handler=self._accept,
        )
        self.app: Application[None] = Application(
            layout=Layout(self._layout(), focused_element=self.input),
            key_bindings=self._keys(),
            style=COLOURS,
            full_screen=True,
            refresh_interval=1.0,  # the time that is left to answer
            input=input,
            output=output,
        )

    async def run(self) -> None:
        """Until somebody quits. Raises Failure if there is no gateway to talk to, or it lets us in no longer."""
        loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = loop.create_future()
        self._ended: asyncio.Future[outcome.Outcome[None]] = loop.create_future()
        trio.lowlevel.start_guest_run(
            self._guest,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=self._over,
            host_uses_signal_set_wakeup_fd=True,
        )
        first_news: list[asyncio.Future[Any]] = [self._ready, self._ended]
        await asyncio.wait(first_news, return_when=asyncio.FIRST_COMPLETED)
        if not self._ended.done():
            try:
                await self.app.run_async()
            finally:
                self._soon(self._cancel)
                await asyncio.wait([self._ended])
        self._ended.result().unwrap()

    async def _guest(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                token = trio.lowlevel.current_trio_token()
                self._soon = token.run_sync_soon
                self._start, self._cancel = nursery.start_soon, nursery.cancel_scope.cancel
                await nursery.start(self.talk.live)
                self._ready.set_result(None)
                self._agents = [str(row["id"]) for row in (await self.talk.know("agents.list")).get("agents", [])]
                while True:
                    self.queue = await self.talk.know("queue.stats")
                    self._changed()
                    await trio.sleep(LOOK)
        except* Failure as group:
            raise first(group) from None

    def _over(self, end: outcome.Outcome[None]) -> None:
        self._ended.set_result(end)
        if self.app.is_running:
            self.app.exit()

    # --- what is typed ----------------------------------------------------------------------------

    def _accept(self, buffer: Buffer) -> bool:
        text = buffer.text.strip()
        self.page.back = 0
        if text in QUIT:
            self.app.exit()
        elif text == CLEAR:
            self.page.clear()
        elif text:
            self.page.line("you", plain(text))
            if text == "/help":
                self.page.line("note", KEYS)
            self._soon(self._start, self.talk.say, text)
        return False

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        asked = Condition(lambda: bool(self.conversation.approvals) and not self.input.text)

        @keys.add("c-c")
        def interrupt(event: KeyPressEvent) -> None:
            now, before = time.monotonic(), self._interrupted
            self._interrupted = now
            if now - before < TWICE:
                event.app.exit()
            elif self.talk.busy or self.conversation.runs:
                self._soon(self._start, self.talk.stop)
            else:
                self.page.line("note", "Ctrl-C once more to quit")

        @keys.add("c-d", filter=Condition(lambda: not self.input.text))
        def leave(event: KeyPressEvent) -> None:
            event.app.exit()

        @keys.add("tab")
        def complete(event: KeyPressEvent) -> None:
            if event.current_buffer.complete_state:
                event.current_buffer.complete_next()
            else:
                event.current_buffer.start_completion(select_first=False, insert_common_part=True)

        @keys.add("pageup")
        def up(_event: KeyPressEvent) -> None:
            self.page.scroll(HALF)

        @keys.add("pagedown")
        def down(_event: KeyPressEvent) -> None:
            self.page.scroll(-HALF)

        for key in VERDICTS:

            @keys.add(key, filter=asked, eager=True)
            def answer(event: KeyPressEvent) -> None:
                oldest = next(iter(self.conversation.approvals))
                self._soon(self._start, self.talk.verdict, oldest, VERDICTS[event.data])

        return keys

    def _words(self) -> list[str]:
        return [*WORDS, *(f"@{key}" for key in self._agents), *(f"/agent {key}" for key in self._agents)]

    # --- what is seen -----------------------------------------------------------------------------

    def _layout(self) -> FloatContainer:
        page = Window(
            FormattedTextControl(self._page, show_cursor=False, get_cursor_position=self._at),
            wrap_lines=True,
        )
        panel = VSplit([Window(width=1, char="│"), Window(FormattedTextControl(self._panel), width=PANEL)])
        wide = Condition(lambda: self.app.output.get_size().columns >= WIDE)
        body = VSplit([page, ConditionalContainer(panel, wide)])
        bar = Window(FormattedTextControl(self._bar), height=1, style="class:bar")
        return FloatContainer(
            HSplit([body, bar, self.input]), [Float(CompletionsMenu(max_height=8), xcursor=True, ycursor=True)]
        )

    def _page(self) -> StyleAndTextTuples:
        return [*self.page.fragments()]

    def _at(self) -> Point:
        return Point(0, max(0, len(self.page.lines) - 1 - self.page.back))

    def _bar(self) -> str:
        talk = self.conversation
        doing = "" if self.talk.connected else " · not connected"
        if talk.runs or self.talk.busy:
            doing += " · works, Ctrl-C stops"
        if talk.approvals:
            doing += f" · {len(talk.approvals)} waits: y once, a always, n no"
        return f" {talk.agent} · {talk.key}{doing}"

    def _panel(self) -> StyleAndTextTuples:
        lines: StyleAndTextTuples = [("bold", " lanes\n")]
        for lane in self.queue.get("lanes", []):
            lines.append(("", f" {lane['name']}: {lane['active']} of {lane['limit']}, {lane['waiting']} wait\n"))
        retries = self.queue.get("states", {}).get("RETRY_WAIT", 0)
        lines.append(("", f" retries {retries}, dead letters {self.queue.get('dead_letters', 0)}\n"))
        if waiting := self.conversation.approvals.values():
            lines.append(("bold", "\n approvals\n"))
        for one in waiting:
            left = max(0, int(one.get("expiresAt", 0)) // 1000 - int(time.time()))
            lines.append(("class:ask", f" {plain(str(one.get('command')))[: PANEL - 8]} {left} s\n"))
        return lines

    def _changed(self) -> None:
        if hasattr(self, "app"):
            self.app.invalidate()
