"""The `claude` program as a provider, with a stand-in that keeps sessions like it. Contract: providers.md §7.2."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

import pytest
import trio

from goclaw.domain.chat import ChatMessage, ChatRequest, ChatResponse, Image, Usage
from goclaw.domain.errors import ProviderError
from goclaw.domain.model import Note, OwnTool
from goclaw.providers.claude_cli.provider import AuthStatus, ClaudeCli
from goclaw.providers.program import Programs
from goclaw.settings.subprocess import ClaudeProgram

FAKE = Path(__file__).parents[2] / "fakes/agents/claude.py"
GRACE = 0.3  # seconds of a step of the ladder
KEY = "agent:default:chat:1"
Opened = Callable[..., AbstractAsyncContextManager[ClaudeCli]]


class Calls:
    def __init__(self, home: Path) -> None:
        self.home = home

    @property
    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.home / ".claude/calls").read_text().splitlines()]

    def option(self, name: str) -> list[str | None]:
        words = [call["words"] for call in self.all]
        return [line[line.index(name) + 1] if name in line else None for line in words]


@pytest.fixture
def calls(tmp_path: Path) -> Calls:
    return Calls(tmp_path)


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    program = tmp_path / "claude"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -S -I {FAKE} "$@"\n')
    program.chmod(0o755)

    @asynccontextmanager
    async def open_(environ: dict[str, str] | None = None, **settings: Any) -> AsyncIterator[ClaudeCli]:
        row = ClaudeProgram(**{"cli_path": str(program), "base_work_dir": str(tmp_path / "work"), **settings})
        given = {**os.environ, "HOME": str(tmp_path), **(environ or {})}
        provider = ClaudeCli("claude_cli", row, timeout=10, environ=given, programs=Programs(GRACE))
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(provider.live)
                yield provider
                await provider.aclose()

    return open_


def asking(*said: str, system: str = "You are Rex.", images: tuple[Image, ...] = (), **metadata: str) -> ChatRequest:
    messages = [ChatMessage(role="system", content=system)]
    for place, text in enumerate(said):
        role = "user" if (len(said) - place) % 2 else "assistant"
        messages.append(ChatMessage(role=role, content=text, images=images if place == len(said) - 1 else ()))
    told = {"run_kind": "chat", "tenant": "acme", "session": KEY, **metadata}
    return ChatRequest(messages=tuple(messages), model="sonnet", metadata=told)


async def answer(
    provider: ClaudeCli, ask: ChatRequest, tell: Callable[[Note], None] = lambda note: None
) -> ChatResponse:
    async with provider.stream(ask, tell=tell) as chunks:
        async for chunk in chunks:
            if chunk.done is not None:
                return chunk.done
    raise AssertionError("no end")


async def test_the_first_prompt_makes_a_session_and_the_next_resumes_it(opened: Opened, calls: Calls) -> None:
    async with opened() as provider:
        first = await answer(provider, asking("one"))
    async with opened() as provider:
        second = await answer(provider, asking("one", "heard: one", "two"))

    assert (first.content, second.content) == ("heard: one", "heard: two")
    assert first.usage == Usage(prompt_tokens=12, completion_tokens=5, cache_read_tokens=3, cache_write_tokens=2)
    assert first.vendor_cost == Decimal("0.0125")
    id = str(uuid5(NAMESPACE_DNS, KEY))
    assert calls.option("--session-id") == [id, None]
    assert calls.option("--resume") == [None, id]
    words = calls.all[0]["words"]
    assert words[:9] == [
        *("-p", "--output-format", "stream-json", "--model", "sonnet"),
        *("--permission-mode", "bypassPermissions", "--verbose", "--session-id"),
    ]
    assert words[-2:] == ["--", "one"]
    assert json.loads(calls.option("--settings")[0] or "")["permissions"]["deny"][0] == "Read(//etc/**)"


async def test_what_the_program_forgot_is_told_again_and_what_it_remembers_is_taken_up(
    opened: Opened, calls: Calls, tmp_path: Path
) -> None:
    session = tmp_path / ".claude" / str(uuid5(NAMESPACE_DNS, KEY))
    async with opened() as provider:
        await answer(provider, asking("one"))
        session.unlink()
        await answer(provider, asking("one", "heard: one", "two"))
        for mark in (tmp_path / "work").glob("*.session"):
            mark.unlink()
        await answer(provider, asking("one", "heard: one", "two", "heard: two", "three"))

    assert calls.option("--session-id")[1] == session.name
    assert calls.all[1]["message"].startswith("This conversation so far:\n\nUser: one\n\nYou: heard: one")
    assert calls.option("--resume")[2] == session.name
    assert calls.all[2]["message"] == "three"


async def test_a_reset_session_gets_another_id(opened: Opened, calls: Calls) -> None:
    async with opened() as provider:
        await answer(provider, asking("one"))
        await answer(provider, asking("anew"))
        await answer(provider, asking("anew", "heard: anew", "more"))
    second = str(uuid5(NAMESPACE_DNS, f"{KEY}#1"))
    assert calls.option("--session-id")[1] == second
    assert calls.option("--resume")[2] == second


async def test_a_summary_has_no_tools_and_leaves_nothing(opened: Opened, calls: Calls, tmp_path: Path) -> None:
    async with opened() as provider:
        await answer(provider, asking("sum it up", run_kind="summary"))
        await answer(provider, asking("one"))
    assert "Bash" in (calls.option("--disallowedTools")[0] or "")
    assert calls.option("--disallowedTools")[1] is None
    assert calls.option("--session-id")[0] != calls.option("--session-id")[1]
    assert len([path for path in (tmp_path / "work").iterdir() if path.is_dir()]) == 1


async def test_the_context_file_is_written_when_it_changed(opened: Opened, calls: Calls, tmp_path: Path) -> None:
    async with opened() as provider:
        await answer(provider, asking("one"))
        (file,) = (tmp_path / "work").glob("*/CLAUDE.md")
        before = file.stat()
        await answer(provider, asking("one", "heard: one", "two"))
        assert file.stat().st_ino == before.st_ino
        await answer(provider, asking("one", "heard: one", "two", system="You are Bo."))

        outside = tmp_path / "outside"
        outside.write_text("mine")
        file.unlink()
        file.symlink_to(outside)
        with pytest.raises(ProviderError, match="outside"):
            await answer(provider, asking("one", "heard: one", "two", system="You are Bo."))
    assert [call["context"] for call in calls.all] == ["You are Rex.", "You are Rex.", "You are Bo."]
    assert outside.read_text() == "mine"


async def test_pictures_and_long_messages_go_by_the_input(opened: Opened, calls: Calls) -> None:
    async with opened() as provider:
        await answer(provider, asking("look", images=(Image("image/png", "aGk="),)))
        await answer(provider, asking("x" * 200_000, session="agent:default:chat:2"))
    assert calls.all[0]["message"] == "look and 1 pictures, 4 characters"
    assert calls.all[1]["message"].endswith("and 0 pictures, 200000 characters")
    assert calls.option("--input-format") == ["stream-json", "stream-json"]
    assert "--" not in calls.all[0]["words"]


async def test_thoughts_and_tools_are_told_in_order(opened: Opened) -> None:
    notes: list[Note] = []
    texts: list[str] = []
    async with opened() as provider, provider.stream(asking("tools"), tell=notes.append) as chunks:
        async for chunk in chunks:
            texts.append(chunk.content or chunk.thinking or (chunk.done.content if chunk.done else ""))

    assert texts == ["hm", "Let me look.", "\n\nSeen.", "Seen."]
    assert notes == [
        OwnTool(id="t1", name="Read", arguments={"file_path": "a"}),
        OwnTool(id="t1", name="Read", ended=True, text="contents"),
        OwnTool(id="t2", name="Bash", arguments={"command": "false"}),
        OwnTool(id="t2", name="Bash", ended=True, is_error=True, text="exit 1"),
    ]


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("overloaded", "overloaded", "claude_cli: API Error: 529 Overloaded"),
        ("logged out", "auth", "Please run /login"),
        ("die", "server_error", "something broke"),
    ],
)
async def test_a_failure_is_an_error_and_the_next_prompt_works(
    opened: Opened, text: str, kind: str, message: str
) -> None:
    async with opened() as provider:
        with pytest.raises(ProviderError, match=message) as failure:
            await answer(provider, asking(text))
        assert (await answer(provider, asking(text, "?", "on"))).content == "heard: on"
    assert failure.value.kind == kind


@pytest.mark.parametrize(("text", "steps"), [("hang", 0), ("deaf", 2)])
async def test_leaving_ends_the_program_and_the_next_prompt_waits_for_that(
    opened: Opened, calls: Calls, text: str, steps: int
) -> None:
    async with opened() as provider:
        async with provider.stream(asking(text)) as chunks:
            await anext(chunks)
            began = trio.current_time()
        assert trio.current_time() - began < GRACE
        assert (await answer(provider, asking(text, "wait", "on"))).content == "heard: on"
        assert trio.current_time() - began >= steps * GRACE
    for call in calls.all:
        with pytest.raises(ProcessLookupError):
            os.kill(call["pid"], 0)


async def test_garbage_is_left_out(opened: Opened) -> None:
    async with opened() as provider:
        whole = await answer(provider, asking("garbage"))
    assert whole.content == "fine"
    assert whole.usage.estimated  # its end did not say
    assert whole.usage.completion_tokens > 0


async def test_the_program_sees_its_own_login_and_no_secret_of_ours(opened: Opened) -> None:
    kept = {"CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CODE_EFFORT_LEVEL", "CLAUDE_CODE_DISABLE_ADAPTIVE_THINKING"}
    dropped = {"CLAUDECODE", "CLAUDE_CONFIG", "ANTHROPIC_API_KEY", "GOCLAW_GATEWAY_TOKEN"}
    async with opened(environ=dict.fromkeys(kept | dropped, "x")) as provider:
        names = set(json.loads((await answer(provider, asking("env"))).content))
    assert names >= kept
    assert not names & dropped


async def test_a_model_is_never_an_option(opened: Opened) -> None:
    async with opened() as provider:
        with pytest.raises(ProviderError, match="no model is called") as failure:
            await answer(provider, ChatRequest(messages=(), model="--dangerously-skip-permissions"))
        assert await provider.models() == ["sonnet", "opus", "haiku"]
    assert failure.value.kind == "model_not_found"


async def test_the_login_is_looked_up(opened: Opened, tmp_path: Path) -> None:
    login = tmp_path / ".claude/login"
    login.parent.mkdir()
    async with opened() as provider:
        login.write_text('{\n "loggedIn": true,\n "email": "a@b.c",\n "subscriptionType": "max"\n}\n')
        found = AuthStatus(installed=True, logged_in=True, email="a@b.c", subscription_type="max")
        assert await provider.auth_status() == found
        login.write_text("who are you?\n")
        assert await provider.auth_status() == AuthStatus(installed=True, logged_in=False, error="who are you?")
    async with opened(cli_path="/no/such/claude") as provider:
        missing = await provider.auth_status()
    assert not missing.installed
    assert missing.error is not None
    assert missing.error.startswith("/no/such/claude cannot be started")
