"""Hooks one after the other: real commands, a real server. Contract: tools.md §22."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from goclaw.domain.hook import Decision, Happening, Hook
from goclaw.security.box import Box, Place
from goclaw.tools.hooks.chain import Outcome, chain
from goclaw.tools.hooks.handlers import SECRETS, Handlers
from goclaw.tools.hooks.verdict import Judge, Verdict

BOX = Box(bytes(range(32)))
ABOUT = Happening(event="pre_tool_use", tool_name="exec", tool_input=msgspec.Raw(b'{"command":"ls"}'))
HOOK = Hook(
    id="01890000-0000-7000-8000-000000000001",
    tenant_id="t",
    scope="tenant",
    event="pre_tool_use",
    handler_type="command",
    name="guard",
    config="{}",
    matcher=None,
    if_expr=None,
    timeout_ms=5000,
    on_timeout="block",
    priority=0,
    enabled=True,
    version=1,
    source="api",
)


def hook(config: dict[str, Any], **more: Any) -> Hook:
    return replace(HOOK, config=msgspec.json.encode(config).decode(), **more)


class Notes:
    def __init__(self) -> None:
        self.said: list[tuple[str, Decision]] = []
        self.errors: list[str] = []

    def __call__(self, hook: Hook, about: Happening, decision: Decision, seconds: float, error: str) -> None:
        self.said.append((hook.name, decision))
        self.errors.append(error)


async def asked(tmp_path: Path, *hooks: Hook, about: Happening = ABOUT, notes: Notes | None = None) -> Outcome:
    handlers = Handlers(BOX, tmp_path / "hooks", {"PATH": "/usr/bin:/bin", "SEEN": "yes", "GOCLAW_KEY": "k"})
    judges = {"command": handlers.command, "http": handlers.http}
    return await chain(hooks, about, judges, notes or Notes())


@pytest.mark.parametrize(
    ("command", "blocked"),
    [
        ("true", None),
        ("echo allowed", None),
        ("echo no such thing >&2; exit 2", 'the hook "guard" does not allow it: no such thing'),
        ("exit 1", 'the hook "guard" could not decide'),
        ("no-such-program", 'the hook "guard" could not decide'),
        ("""echo '{"continue":false,"reason":"not today"}'""", 'the hook "guard" does not allow it: not today'),
        ("""echo '{"decision":"block"}'""", 'the hook "guard" does not allow it'),
        ("""echo '{"decision":"perhaps"}'""", 'the hook "guard" could not decide'),
        ("""echo '{"updatedInput":[1]}'""", 'the hook "guard" could not decide'),
        (["sh", "-c", "exit 2"], 'the hook "guard" does not allow it'),
    ],
)
async def test_a_command_says_yes_or_no(tmp_path: Path, command: Any, blocked: str | None) -> None:
    assert (await asked(tmp_path, hook({"command": command}))).blocked == blocked


async def test_a_command_is_told_of_the_call_and_of_nothing_else(tmp_path: Path) -> None:
    sealed = BOX.seal_object({"TOKEN": "s3cret"}, Place(SECRETS, HOOK.id)).hex()
    tells = hook({"command": "cat > told.json; env > env.txt", "env": ["SEEN", "ABSENT"]}, secrets=sealed)
    assert (await asked(tmp_path, tells)).blocked is None

    told = msgspec.json.decode((tmp_path / "hooks" / "told.json").read_bytes())
    assert (told["event"], told["toolName"], told["toolInput"]) == ("pre_tool_use", "exec", {"command": "ls"})
    env = (tmp_path / "hooks" / "env.txt").read_text()
    assert "SEEN=yes" in env
    assert "TOKEN=s3cret" in env
    assert "GOCLAW" not in env


async def test_secrets_of_another_hook_do_not_open(tmp_path: Path) -> None:
    """SEC-30."""
    sealed = BOX.seal_object({"TOKEN": "s3cret"}, Place(SECRETS, "another")).hex()
    outcome = await asked(tmp_path, hook({"command": "true"}, secrets=sealed))
    assert outcome.blocked == 'the hook "guard" could not decide'


async def test_the_next_hook_sees_what_the_one_before_made_of_the_call(tmp_path: Path) -> None:
    changes = """echo '{"updatedInput":{"command":"ls -l"},"additionalContext":"be brief"}'"""
    outcome = await asked(
        tmp_path,
        hook({"command": changes}, name="first"),
        hook({"command": "exit 2"}, name="second", if_expr='tool_input.command != "ls -l"'),
    )
    assert outcome == Outcome(updated={"command": "ls -l"}, context="be brief")


async def test_the_first_no_ends_it_and_only_who_matches_is_asked(tmp_path: Path) -> None:
    notes = Notes()
    outcome = await asked(
        tmp_path,
        hook({"command": "exit 2"}, name="other tool", matcher="^write_"),
        hook({"command": "true"}, name="yes", matcher="exec|process"),
        hook({"command": "exit 2"}, name="no"),
        hook({"command": "true"}, name="never"),
        notes=notes,
    )
    assert outcome.blocked == 'the hook "no" does not allow it'
    assert notes.said == [("yes", "allow"), ("no", "block")]


async def test_nobody_is_blocked_after_the_fact(tmp_path: Path) -> None:
    notes = Notes()
    about = replace(ABOUT, event="post_tool_use")
    outcome = await asked(tmp_path, hook({"command": "exit 2"}), hook({"command": "exit 1"}), about=about, notes=notes)
    assert outcome.blocked is None
    assert [decision for _, decision in notes.said] == ["block", "error"]


@pytest.mark.parametrize(
    ("on_timeout", "blocked"), [("block", 'the hook "guard" did not answer in time'), ("allow", None)]
)
async def test_no_answer_is_what_its_owner_says_it_is(
    on_timeout: Any, blocked: str | None, autojump_clock: MockClock
) -> None:
    async def silent(hook: Hook, about: Happening) -> Verdict:
        await trio.sleep(60)
        return Verdict()

    judges: dict[str, Judge] = {"command": silent}
    began, notes = trio.current_time(), Notes()
    outcome = await chain([hook({}, on_timeout=on_timeout)], ABOUT, judges, notes)
    assert outcome.blocked == blocked
    assert trio.current_time() - began == 5
    assert notes.said == [("guard", "timeout")]


async def test_all_hooks_together_have_ten_seconds(autojump_clock: MockClock) -> None:
    async def slow(hook: Hook, about: Happening) -> Verdict:
        await trio.sleep(4)
        return Verdict()

    judges: dict[str, Judge] = {"command": slow}
    began, notes = trio.current_time(), Notes()
    outcome = await chain([hook({})] * 4, ABOUT, judges, notes)
    assert [decision for _, decision in notes.said] == ["allow", "allow", "timeout"]
    assert (outcome.blocked is not None, trio.current_time() - began) == (True, 10)


async def test_a_handler_that_breaks_is_no_yes() -> None:
    async def broken(hook: Hook, about: Happening) -> Verdict:
        raise RuntimeError("a bug")

    for judge in (broken, None):
        judges: dict[str, Judge] = {"command": judge} if judge is not None else {}
        assert (await chain([hook({})], ABOUT, judges, Notes())).blocked is not None


# --- servers --------------------------------------------------------------------------------------


@asynccontextmanager
async def server(*answers: tuple[int, str | bytes], headers: str = "") -> AsyncIterator[tuple[str, list[bytes]]]:
    """Gives its answers one after the other, the last one for ever; what it was sent."""
    heard: list[bytes] = []
    waiting = list(answers)

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            data = b""
            async for piece in stream:
                data += piece
                if b"\r\n\r\n" in data and data.rstrip().endswith(b"}"):
                    break
            heard.append(data)
            status, text = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            body = text.encode() if isinstance(text, str) else text
            head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{headers}Connection: close\r\n\r\n"
            await stream.send_all(head.encode() + body)

    async with trio.open_nursery() as nursery:
        listeners: Any = await nursery.start(trio.serve_tcp, serve, 0)
        port = listeners[0].socket.getsockname()[1]
        yield f"http://127.0.0.1:{port}/hook", heard
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("answers", "blocked", "times"),
    [
        ([(200, "{}")], None, 1),
        ([(200, "fine")], None, 1),
        ([(200, '{"decision":"block","reason":"no"}')], 'the hook "guard" does not allow it: no', 1),
        ([(403, "{}")], 'the hook "guard" does not allow it: the server of the hook answered 403', 1),
        ([(500, "{}"), (200, "{}")], None, 2),
        ([(500, "{}")], 'the hook "guard" could not decide', 2),
        ([(302, "{}")], 'the hook "guard" could not decide', 1),
        ([(200, "x" * (2**20 + 1))], 'the hook "guard" could not decide', 1),
    ],
)
async def test_a_server_says_yes_or_no(
    tmp_path: Path, answers: list[tuple[int, str]], blocked: str | None, times: int
) -> None:
    sealed = BOX.seal_object({"X-Token": "s3cret"}, Place(SECRETS, HOOK.id)).hex()
    async with server(*answers) as (url, heard):
        config = {"url": url, "allow_private_network": True}
        outcome = await asked(tmp_path, hook(config, handler_type="http", secrets=sealed))
    assert (outcome.blocked, len(heard)) == (blocked, times)
    assert b"X-Token: s3cret" in heard[0]
    assert b'"toolInput":{"command":"ls"}' in heard[0]


async def test_a_private_address_is_asked_only_where_an_admin_said_so(tmp_path: Path) -> None:
    """SEC-18, of hooks."""
    notes = Notes()
    async with server((200, "{}")) as (url, heard):
        outcome = await asked(tmp_path, hook({"url": url}, handler_type="http"), notes=notes)
    assert (outcome.blocked, heard) == ('the hook "guard" could not decide', [])
    assert "refused address" in notes.errors[0]


BLOCKS = '{"decision": "block", "reason": "no"}'
UNDECIDED = 'the hook "guard" could not decide'
SAID_NO = 'the hook "guard" does not allow it: no'


JSON = "Content-Type: application/json"
CLOTHES: dict[str, tuple[str, bytes, str | None]] = {
    "packed": ("Content-Encoding: gzip", gzip.compress(BLOCKS.encode()), UNDECIDED),
    "packed otherwise": ("Content-Encoding: br", b"\x0b\x02\x80{}\x03", UNDECIDED),
    "not packed": ("Content-Encoding: gzip", BLOCKS.encode(), UNDECIDED),
    "plainly not packed": ("Content-Encoding: identity", BLOCKS.encode(), SAID_NO),
    "utf-16": (f"{JSON}; charset=utf-16", BLOCKS.encode("utf-16"), UNDECIDED),
    "utf-16 unsaid": (JSON, BLOCKS.encode("utf-16-le"), UNDECIDED),
    "utf-16 as a text": ("Content-Type: text/plain", BLOCKS.encode("utf-16"), UNDECIDED),
    "utf-32": (f"{JSON}; charset=utf-32", BLOCKS.encode("utf-32"), UNDECIDED),
    "utf-7": ("Content-Type: text/plain; charset=utf-7", b"+AHs-" + BLOCKS[1:].encode(), UNDECIDED),
    "ebcdic": ("Content-Type: text/plain; charset=cp037", BLOCKS.encode("cp037"), UNDECIDED),
    "latin-1": (f"{JSON}; charset=latin-1", BLOCKS.replace("no", "né").encode("latin-1"), UNDECIDED),
    "latin-1 that is ascii": (f"{JSON}; charset=latin-1", BLOCKS.encode(), SAID_NO),
    "a mark before utf-8": (JSON, b"\xef\xbb\xbf" + BLOCKS.encode(), SAID_NO),
    "nothing": (JSON, b"", None),
}


@pytest.mark.parametrize("name", CLOTHES)
async def test_an_answer_in_other_clothes_is_no_yes(tmp_path: Path, name: str) -> None:
    """Packed or in another charset: read as the no it is, or as none, but never as a yes."""
    header, body, blocked = CLOTHES[name]
    async with server((200, body), headers=f"{header}\r\n") as (url, _):
        outcome = await asked(tmp_path, hook({"url": url, "allow_private_network": True}, handler_type="http"))
    assert outcome.blocked == blocked
