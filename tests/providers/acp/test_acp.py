"""Agents that are programs: real ones on real pipes. Contract: providers.md §7.1, PR-27, PR-28."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from goclaw.domain.chat import ChatMessage, ChatRequest, ChatResponse, Image
from goclaw.domain.errors import ProviderError
from goclaw.domain.model import Note, OwnTool
from goclaw.providers.acp.provider import Acp
from goclaw.providers.program import Programs
from goclaw.settings.subprocess import AcpAgent

AGENT = Path(__file__).parents[2] / "fakes/agents/acp.py"
GRACE = 0.4  # seconds of a step of the ladder
CONVERSATION = {"run_kind": "chat", "tenant": "acme", "session": "agent:default:chat:1"}

Opened = Callable[..., AbstractAsyncContextManager[Acp]]


class Journal:
    """What the agents of a test were asked."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def lines(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []

    def of(self, word: str) -> list[str]:
        return [line.partition(" ")[2] for line in self.lines if line.startswith(f"{word} ")]

    @property
    def pids(self) -> list[int]:
        return [int(pid) for pid in self.of("started")]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


@pytest.fixture
def opened(tmp_path: Path, journal: Journal) -> Opened:
    @asynccontextmanager
    async def open_(*flags: str, environ: dict[str, str] | None = None, **settings: Any) -> AsyncIterator[Acp]:
        args = ("-S", "-I", str(AGENT), "--journal", str(journal.path), *flags)
        row = AcpAgent(**{"binary": sys.executable, "args": args, **settings})
        home = tmp_path / "data"
        provider = Acp("acp", row, home, timeout=10, environ=environ or os.environ, programs=Programs(GRACE))
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(provider.live)
                yield provider
                await provider.aclose()

    return open_


def asking(*said: str, model: str = "claude", images: tuple[Image, ...] = (), **metadata: str) -> ChatRequest:
    """A conversation in which user and assistant take turns; the last word is the user's."""
    messages = [ChatMessage(role="system", content="You are Rex.")]
    for place, text in enumerate(said):
        last = place == len(said) - 1
        role = "user" if (len(said) - place) % 2 else "assistant"
        messages.append(ChatMessage(role=role, content=text, images=images if last else ()))
    return ChatRequest(messages=tuple(messages), model=model, metadata={**CONVERSATION, **metadata})


async def answer(provider: Acp, ask: ChatRequest, tell: Callable[[Note], None] = lambda note: None) -> ChatResponse:
    async with provider.stream(ask, tell=tell) as chunks:
        text = ""
        async for chunk in chunks:
            text += chunk.content
            if chunk.done is not None:
                assert text == chunk.done.content
                return chunk.done
    raise AssertionError("no end")


async def said(provider: Acp, *texts: str) -> Any:
    """What the agent reports, from JSON."""
    return json.loads((await answer(provider, asking(*texts))).content)


def alive(pid: int) -> bool:
    """Neither gone nor a zombie."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


async def gone(pid: int) -> None:
    with suppress(ProcessLookupError):
        watch = os.pidfd_open(pid)
        with trio.fail_after(10):
            await trio.lowlevel.wait_readable(watch)
        os.close(watch)


def children() -> list[int]:
    return [int(pid) for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()]


async def heard_of(provider: Acp, ask: ChatRequest, heard: list[str]) -> None:
    async with provider.stream(ask) as chunks:
        async for chunk in chunks:
            heard.append(chunk.content)


async def test_a_session_has_one_agent_and_hears_only_what_is_new(opened: Opened, journal: Journal) -> None:
    async with opened() as provider:
        first = await answer(provider, asking("hello"))
        second = await answer(provider, asking("hello", "heard: hello", "again"))
        await answer(provider, asking("hello", session="agent:default:chat:2"))

    assert second.content == "heard: again"
    assert first.finish_reason == "stop"
    assert first.usage.estimated
    assert first.usage.completion_tokens > 0
    assert [json.loads(text) for text in journal.of("prompt")] == [
        "You are Rex.\n\nhello",
        "again",
        "You are Rex.\n\nhello",
    ]
    assert len(journal.pids) == 2
    hello = json.loads(journal.of("initialize")[0])
    assert hello["protocolVersion"] == 1
    assert hello["clientCapabilities"] == {"fs": {"readTextFile": True, "writeTextFile": True}, "terminal": True}
    place = json.loads(journal.of("new")[0])
    assert place["mcpServers"] == []
    assert place["cwd"].startswith(f"{journal.path.parent}/data/")
    assert not any(alive(pid) for pid in journal.pids)


async def test_an_agent_that_dies_in_mid_prompt_is_a_server_error_and_the_next_prompt_works(
    opened: Opened, journal: Journal
) -> None:
    """PR-28. The new agent takes up the old session."""
    async with opened() as provider:
        await answer(provider, asking("one"))
        heard: list[str] = []
        with pytest.raises(ProviderError) as failure:
            await heard_of(provider, asking("one", "heard: one", "die"), heard)
        with pytest.raises(ProviderError, match="exit code 3"):
            await answer(provider, asking("one", "heard: one", "die silently"))
        after = await answer(provider, asking("one", "heard: one", "two"))

    assert heard == ["half"]
    assert failure.value.kind == "server_error"
    assert "exit code 3: something broke" in failure.value.message
    assert after.content == "heard: two"  # not what was told again while the session was reloaded
    assert len(journal.pids) == 3
    assert journal.of("load") == [f"s1-{journal.pids[0]}"] * 2


async def test_without_reloading_the_conversation_is_told_again(opened: Opened, journal: Journal) -> None:
    async with opened("--no-load") as provider:
        await answer(provider, asking("one"))
        with pytest.raises(ProviderError):
            await answer(provider, asking("one", "heard: one", "die silently"))
        await answer(provider, asking("one", "heard: one", "two"))

    told = json.loads(journal.of("prompt")[-1])
    assert told.startswith("You are Rex.")
    assert "User: one\n\nYou: heard: one" in told
    assert told.endswith("two")


async def test_the_session_outlives_the_provider_but_not_a_reset(opened: Opened, journal: Journal) -> None:
    async with opened() as provider:
        await answer(provider, asking("one"))
    async with opened() as provider:
        await answer(provider, asking("one", "heard: one", "two"))
        await answer(provider, asking("three"))  # the answer is not in the history any more

    assert journal.of("load") == [f"s1-{journal.pids[0]}"]
    assert len(journal.of("new")) == 2
    assert json.loads(journal.of("prompt")[-1]) == "You are Rex.\n\nthree"


async def test_what_another_model_answered_meanwhile_is_told(opened: Opened, journal: Journal) -> None:
    async with opened() as provider:
        await answer(provider, asking("one"))
        await answer(provider, asking("one", "heard: one", "two", "somebody else", "three"))
        await answer(provider, asking("one", "heard: one", "two", "somebody else", "three", "heard: three", "four"))

    told = [json.loads(text) for text in journal.of("prompt")]
    assert told[1].startswith("Meanwhile in this conversation:\n\nUser: two\n\nYou: somebody else")
    assert told[1].endswith("What is new:\n\nthree")
    assert told[2] == "four"


async def test_a_summary_is_not_part_of_the_session(opened: Opened, journal: Journal) -> None:
    async with opened() as provider:
        await answer(provider, asking("one"))
        await answer(provider, asking("sum it up", run_kind="summary"))
        await gone(journal.pids[1])
        await answer(provider, asking("one", "heard: one", "two"))

    assert len(journal.pids) == 2
    assert json.loads(journal.of("prompt")[-1]) == "two"


async def test_an_agent_rests_and_ends_when_nobody_comes(opened: Opened, journal: Journal) -> None:
    async with opened(idle_ttl=0.1) as provider:
        await answer(provider, asking("one"))
        await gone(journal.pids[0])
        assert (await answer(provider, asking("one", "heard: one", "two"))).content == "heard: two"

    assert len(journal.of("load")) == 1


async def test_prompts_of_one_session_wait_for_each_other(opened: Opened, journal: Journal) -> None:
    answers: list[str] = []

    async def one(provider: Acp, text: str) -> None:
        answers.append((await answer(provider, asking("a", "b", text))).content)

    async with opened() as provider:
        await answer(provider, asking("a"))
        async with trio.open_nursery() as nursery:
            for text in ("x", "y", "z"):
                nursery.start_soon(one, provider, text)

    assert sorted(answers) == ["heard: x", "heard: y", "heard: z"]
    assert len(journal.pids) == 1


async def test_leaving_in_mid_answer_cancels_the_prompt_and_keeps_the_agent(opened: Opened, journal: Journal) -> None:
    async with opened() as provider:
        async with provider.stream(asking("hang")) as chunks:
            assert (await anext(chunks)).content == "wait"
            began = trio.current_time()
        assert trio.current_time() - began < 0.1  # whoever leaves does not wait for the agent
        assert (await answer(provider, asking("hang", "wait", "on"))).content == "heard: on"

    assert len(journal.pids) == 1


async def test_a_deaf_agent_comes_to_the_end_of_the_ladder(opened: Opened, journal: Journal) -> None:
    async with opened("--deaf") as provider:
        async with provider.stream(asking("hang")) as chunks:
            await anext(chunks)
        began = trio.current_time()
        assert (await answer(provider, asking("hang", "wait", "on"))).content == "heard: on"
        await gone(journal.pids[0])
        assert trio.current_time() - began >= 2 * GRACE  # cancelled, then terminated, then killed

    assert len(journal.pids) == 2
    assert not any(alive(pid) for pid in journal.pids)


async def test_nothing_is_left_when_the_provider_ends_in_mid_prompt(opened: Opened, journal: Journal) -> None:
    params = json.dumps({"command": "sleep 100", "args": []})
    before = set(children())  # the suite has others
    async with opened() as provider, provider.stream(asking(f"ask terminal/create {params} ; hang")) as chunks:
        for _ in range(2):
            await anext(chunks)
        running = set(children()) - before
        await provider.aclose()
        with pytest.raises(ProviderError, match="is being stopped"):
            await anext(chunks)

    assert len(running) >= 2
    for pid in running:
        await gone(pid)


async def test_garbage_is_left_out_and_an_endless_line_is_the_end(opened: Opened) -> None:
    async with opened() as provider:
        assert (await answer(provider, asking("garbage"))).content == "fine"
        with pytest.raises(ProviderError, match="a line of more than 4194304 bytes") as failure:
            await answer(provider, asking("garbage", "fine", "endless"))
    assert failure.value.kind == "server_error"


async def test_an_answer_without_an_end_is_ended(opened: Opened, journal: Journal) -> None:
    async with opened() as provider:
        with pytest.raises(ProviderError, match="the answer is larger than 67108864 bytes"):
            await heard_of(provider, asking("flood"), [])
        await gone(journal.pids[0])


async def test_thoughts_plans_and_tools_are_told_in_order(opened: Opened) -> None:
    notes: list[Note] = []
    async with opened() as provider:
        whole = await answer(provider, asking("think"), notes.append)

    assert whole.content == "Let me look.\n\nSeen."
    assert whole.thinking == "hmPlan:\n- look (pending)\n"
    assert notes == [
        OwnTool(id="c1", name="Read a.txt", arguments={"path": "a.txt"}),
        OwnTool(id="c1", name="Read a.txt", ended=True, text="contents"),
    ]


@pytest.mark.parametrize("method", ["fs/read_text_file", "fs/readTextFile"])
async def test_an_agent_reads_its_own_files_and_no_others(opened: Opened, tmp_path: Path, method: str) -> None:
    """PR-27."""
    work = tmp_path / "work"
    (work / "sub").mkdir(parents=True)
    (work / "a.txt").write_text("one\ntwo\nthree\n")
    (work / ".env.local").write_text("KEY=1")
    (tmp_path / "outside").write_text("not yours")
    for link, target in {"out": "../outside", "passwd": "/etc/passwd", "innocent": ".env.local"}.items():
        (work / link).symlink_to(target)

    async with opened(work_dir=str(work)) as provider:

        async def read(path: str, **more: int) -> Any:
            return await said(provider, f"ask {method} {json.dumps({'path': path, **more})}")

        assert await read(str(work / "a.txt")) == {"content": "one\ntwo\nthree\n"}
        assert await read("a.txt", line=2, limit=1) == {"content": "two\n"}
        for path in ("/etc/passwd", "../outside", "out", "passwd", "innocent", ".env.local", "secrets", "Credentials"):
            refused = await read(path)
            assert refused["code"] == -32000, path
            assert "not yours" not in str(refused)


async def test_an_agent_writes_below_its_directory_only(opened: Opened, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "gone").symlink_to("../new")

    async with opened(work_dir=str(work)) as provider:

        async def write(path: str) -> Any:
            return await said(provider, f"ask fs/write_text_file {json.dumps({'path': path, 'content': 'text'})}")

        assert await write("new/deep/c.txt") == {}
        for path in ("../new", "gone", "/etc/nope", ".env", "secret.txt", "new"):
            assert (await write(path))["code"] == -32000, path

    assert (work / "new/deep/c.txt").read_text() == "text"
    assert not (tmp_path / "new").exists()
    assert [path.name for path in (work / "new/deep").iterdir()] == ["c.txt"]


async def test_an_agent_runs_commands_in_its_directory(opened: Opened, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()

    async with opened(work_dir=str(work)) as provider:

        async def do(name: str, **params: Any) -> Any:
            return await said(provider, f"ask terminal/{name} {json.dumps(params)}")

        first = await do("create", command="pwd; echo $COLOR; exit 4", env=[{"name": "COLOR", "value": "red"}])
        assert await do("wait_for_exit", **first) == {"exitCode": 4, "signal": None}
        told = await do("output", **first)
        assert told == {"output": f"{work}\nred\n", "truncated": False, "exitStatus": {"exitCode": 4, "signal": None}}
        assert await do("release", **first) == {}
        assert "no terminal" in (await do("output", **first))["message"]

        second = await do("create", command="sh", args=["-c", "printf abcdef; sleep 100"], outputByteLimit=4)
        with trio.fail_after(5):
            while not (told := await do("output", **second))["output"]:
                pass
        assert told == {"output": "cdef", "truncated": True, "exitStatus": None}
        assert await do("kill", **second) == {}
        assert (await do("waitForExit", **second))["signal"] == "SIGTERM"

        assert "outside" in (await do("create", command="ls", cwd="/"))["message"]
        assert "cannot be started" in (await do("create", command="/no/such/thing", args=["x"]))["message"]
        assert (await do("create"))["code"] == -32602


@pytest.mark.parametrize(
    ("mode", "read", "edit", "files", "terminal"),
    [
        ("approve-all", "allow_once!", "allow_once!", True, True),
        ("approve-reads", "allow_once!", "reject_once!", False, False),
        ("deny-all", "reject_once!", "reject_once!", False, False),
    ],
)
async def test_permission_is_given_by_the_mode(
    opened: Opened, mode: str, read: str, edit: str, files: bool, terminal: bool
) -> None:
    async with opened(perm_mode=mode) as provider:
        for kind, chosen in (("read", read), ("edit", edit)):
            outcome = await said(provider, f"permit {kind}")
            assert outcome == {"outcome": {"outcome": "selected", "optionId": chosen}}
        old = await said(provider, 'ask permission/request {"toolName": "Bash"}')
        assert old == {"outcome": "approved" if mode == "approve-all" else "denied"}
        wrote = await said(provider, 'ask fs/write_text_file {"path": "a", "content": ""}')
        assert (wrote == {}) is files
        looked = await said(provider, 'ask fs/read_text_file {"path": "nope"}')
        assert ("not permitted" in looked["message"]) is (mode == "deny-all")
        ran = await said(provider, 'ask terminal/create {"command": "true"}')
        assert ("terminalId" in ran) is terminal


async def test_an_agent_sees_no_secret_of_the_gateway(opened: Opened) -> None:
    environ = {**os.environ, "GOCLAW_GATEWAY_TOKEN": "x", "OPENAI_API_KEY": "x", "PGPASSWORD": "x", "LC_ALL": "C"}
    async with opened(environ=environ) as provider:
        names = set(await said(provider, "env"))

    assert names & environ.keys() >= {"PATH", "HOME", "LC_ALL"}
    assert not names & {"GOCLAW_GATEWAY_TOKEN", "OPENAI_API_KEY", "PGPASSWORD"}


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("max_tokens", "length"),
        ("maxContextLength", "length"),
        ("max_turn_requests", "stop"),
    ],
)
async def test_a_stop_reason_is_a_finish_reason(opened: Opened, reason: str, finish: str) -> None:
    async with opened() as provider:
        assert (await answer(provider, asking(f"stop {reason}"))).finish_reason == finish


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("stop refusal", "content_policy"),
        ("stop cancelled", "cancelled"),
        ("refuse Authentication required", "auth"),
        ("refuse rate limit reached", "rate_limit"),
        ("refuse something", "server_error"),
    ],
)
async def test_what_is_no_answer_is_an_error_and_the_agent_lives_on(
    opened: Opened, journal: Journal, text: str, kind: str
) -> None:
    async with opened() as provider:
        await answer(provider, asking("one"))
        with pytest.raises(ProviderError) as failure:
            await answer(provider, asking("one", "heard: one", text))
        await answer(provider, asking("one", "heard: one", "two"))
    assert failure.value.kind == kind
    assert len(journal.pids) == 1


async def test_an_agent_is_asked_for_a_model_it_offers(opened: Opened, journal: Journal) -> None:
    async with opened(model="deep") as provider:
        assert await provider.models() == ["deep"]
        await answer(provider, asking("one", model="deep"))
        await answer(provider, asking("one", "heard: one", "two", model="deep"))
        await answer(provider, asking("one", "heard: one", "two", "heard: two", "three", model="unknown"))
        assert await provider.models() == ["deep", "fast"]
    assert journal.of("model") == ["deep"]


async def test_a_program_that_is_not_there_is_an_error_that_says_so(opened: Opened) -> None:
    async with opened(binary="/no/such/agent") as provider:
        with pytest.raises(ProviderError, match="/no/such/agent cannot be started: No such file"):
            await answer(provider, asking("one"))
    async with opened(binary="") as provider:
        with pytest.raises(ProviderError, match="binary is not set"):
            await answer(provider, asking("one"))
