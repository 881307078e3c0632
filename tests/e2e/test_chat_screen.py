"""`goclaw chat` against a real gateway with the offline model. Contract: config-cli.md §8."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import select
import struct
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from fcntl import ioctl
from termios import TIOCSWINSZ

import pytest
from prompt_toolkit.input import PipeInput
from prompt_toolkit.input.defaults import create_pipe_input
from prompt_toolkit.output import DummyOutput

from goclaw.edge.cli.options import Exit, Failure, Options
from goclaw.edge.cli.screen import Screen
from tests.e2e.gateway import PATIENCE, Gateway, running

CTRL_C, CTRL_D = "\x03", "\x04"
MISSED = "ssh-keygen --help 2>/dev/null; echo was said"  # nobody has allowed it yet


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    config = {"tools": {"allow": ["exec"], "execApproval": {"ask": "on-miss"}}}
    with running(Gateway(tmp_path_factory.mktemp("screen") / "home", config)) as gateway:
        yield gateway
    assert gateway.complaints() == []


class Person:
    """Types, and looks at the screen whenever it is drawn."""

    def __init__(self, screen: Screen, keys: PipeInput) -> None:
        self.screen = screen
        self._keys = keys
        self._drawn = asyncio.Event()
        screen.app.after_render += lambda _: self._drawn.set()

    def types(self, text: str) -> None:
        self._keys.send_text(text)

    def says(self, text: str) -> None:
        self.types(text + "\r")

    @property
    def lines(self) -> list[str]:
        return [text for _, text in self.screen.page.lines]

    async def sees(self, text: str) -> None:
        await self.until(lambda: any(text in line for line in self.lines))

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not true():
                self._drawn.clear()
                await self._drawn.wait()


def sit_down(gateway: Gateway, story: Callable[[Person], Awaitable[None]], session: str = "", agent: str = "") -> None:
    """Live through a story in front of a screen, which has to be gone at its end."""

    async def main() -> None:
        options = Options(lambda _loaded, _json: 0, url=gateway.address, token=gateway.token, timeout=PATIENCE)
        with create_pipe_input() as keys:
            screen = Screen(options, agent, session, input=keys, output=DummyOutput())
            async with asyncio.timeout(3 * PATIENCE), asyncio.TaskGroup() as tasks:
                tasks.create_task(screen.run())
                await story(Person(screen, keys))

    try:
        asyncio.run(main())
    except* Failure as group:
        raise group.exceptions[0] from None


def test_what_is_said_is_answered_and_there_when_one_comes_back(place: Gateway) -> None:
    async def first(person: Person) -> None:
        person.says("hello")
        await person.sees("What works here without a language model")
        person.says("/agents")
        await person.sees("Answering here: default.")
        assert "> hello" in person.lines
        person.says("/quit")

    async def again(person: Person) -> None:
        await person.sees("What works here without a language model")
        assert person.lines[0] == "> hello"
        person.says("/clear")
        await person.until(lambda: not person.lines)
        person.types(CTRL_D)

    sit_down(place, first, "kept")
    sit_down(place, again, "kept")


def test_a_command_is_allowed_where_it_is_asked_about(place: Gateway) -> None:
    async def story(person: Person) -> None:
        person.says(f"run `{MISSED}`")
        await person.sees("? default wants exec: ")
        person.types("y")
        await person.sees("answered: allow_once")
        await person.sees("→ was said")
        await person.until(lambda: not person.screen.talk.busy)
        person.says(f"run `{MISSED}`")
        await person.until(lambda: person.screen.conversation.approvals)
        person.types("n")
        await person.sees("answered: deny")
        await person.until(lambda: not person.screen.talk.busy)
        assert not person.screen.conversation.approvals
        person.types(CTRL_D)

    sit_down(place, story)


def test_a_command_is_allowed_by_its_code(place: Gateway) -> None:
    async def story(person: Person) -> None:
        person.says(f"run `{MISSED}`")
        await person.until(lambda: person.screen.conversation.approvals)
        ((code,),) = place.rows("SELECT code FROM exec_approvals WHERE status = 'pending'")
        person.says("/deny NOSUCH")
        await person.sees("! ")
        person.says(f"/approve {code.lower()}")
        await person.sees(f"Allowed once: {code.lower()}.")
        await person.sees("→ was said")
        person.says("/reload")
        await person.sees("Configuration read again.")
        person.types(CTRL_D)

    sit_down(place, story)


def test_ctrl_c_stops_what_works_and_twice_it_quits(place: Gateway) -> None:
    async def story(person: Person) -> None:
        person.says("run `sleep 600; ssh-keygen --help`")
        await person.until(lambda: person.screen.conversation.approvals)
        person.types("y")
        await person.sees("answered: allow_once")
        person.types(CTRL_C)
        await person.sees("stopped: 1")
        person.types(CTRL_C + CTRL_C)

    sit_down(place, story)


def test_a_choice_of_agent_is_seen_in_the_bar(place: Gateway) -> None:
    async def story(person: Person) -> None:
        person.says("@@default hello")
        await person.sees("What works here")
        person.says("@nobody hello")
        await person.sees("There is no agent nobody.")
        person.types("/age\t")
        await person.until(lambda: person.screen.input.text == "/agent")
        person.types("\x15" + CTRL_D)

    sit_down(place, story)


def test_where_there_is_no_agent_or_gateway_there_is_no_screen(place: Gateway) -> None:
    async def nothing(person: Person) -> None:
        pass

    with pytest.raises(Failure, match="agent not found: zz"):
        sit_down(place, nothing, agent="zz")


def test_a_real_terminal_shows_it(place: Gateway) -> None:
    """The command itself, in a terminal of 120 columns: an answer, the panel, and two Ctrl-C."""
    with Terminal(place) as terminal:
        terminal.sees("lanes")
        terminal.types("hello\r")
        terminal.sees("What works here")
        terminal.types(CTRL_C + CTRL_C)
        assert terminal.ends() == Exit.OK


def test_lines_go_in_and_answers_come_out(place: Gateway) -> None:
    """Without a terminal, and where somebody wants none: one message a line."""
    done = chat(place, "agent", "chat", "--session", "piped", input="hello\n/model\n\n@@nobody\n")
    missed = chat(place, "chat", input="/approve XXXXXX\n")

    assert done.returncode == 0, done.stderr
    assert "What works here without a language model" in done.stdout
    assert "Model of this session: offline/offline-1.\nThere is no agent nobody.\n" in done.stdout
    assert done.stderr == ""
    assert (missed.returncode, missed.stdout) == (Exit.FAILED, "")
    assert "NOT_FOUND" in missed.stderr


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "goclaw", *arguments]


def chat(gateway: Gateway, *arguments: str, input: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("--url", gateway.address, *arguments),
        env={**gateway.environ, "GOCLAW_TOKEN": gateway.token},
        input=input,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
    )


class Terminal:
    """`goclaw chat` behind a pseudo-terminal."""

    def __init__(self, gateway: Gateway) -> None:
        self._master, slave = pty.openpty()
        ioctl(slave, TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self._process = subprocess.Popen(
            command("--url", gateway.address, "chat"),
            env={**gateway.environ, "GOCLAW_TOKEN": gateway.token, "TERM": "xterm"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self._seen = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def types(self, text: str) -> None:
        os.write(self._master, text.encode())

    def sees(self, text: str) -> None:
        """Since the last thing that was looked for."""
        until = time.monotonic() + PATIENCE  # it draws the time that is left all the while
        while text not in self._seen:
            assert time.monotonic() < until, self._seen
            assert select.select([self._master], [], [], PATIENCE)[0], self._seen
            read = os.read(self._master, 65536).decode(errors="replace")
            self._seen = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._seen + read)
        self._seen = self._seen.partition(text)[2]

    def ends(self) -> int:
        until = time.monotonic() + PATIENCE
        with suppress(OSError):  # the terminal is gone with the process
            while time.monotonic() < until and select.select([self._master], [], [], PATIENCE)[0]:
                os.read(self._master, 65536)
        return self._process.wait(PATIENCE)
