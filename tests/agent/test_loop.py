"""Think, act, observe: every call one result, every run one answer. Contract: agent-loop.md §9.1, §10."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from trio.testing import MockClock

from goclaw.agent.act import distinct, interrupt
from goclaw.agent.history import repair
from goclaw.agent.loop import answer
from goclaw.agent.turn import Draft, Task
from goclaw.domain.chat import (
    ChatMessage,
    ChatOptions,
    ChatRequest,
    ChatResponse,
    FinishReason,
    StreamChunk,
    ToolCall,
    Usage,
)
from goclaw.domain.errors import ProviderError
from goclaw.domain.hint_texts import hint
from goclaw.security.paths import Workspace
from goclaw.tools.ledger import ToolResult
from goclaw.tools.pipeline import Toolbox
from goclaw.tools.tool import Effect, Tool, ToolContext, ToolFailed, tool
from tests.agent.notebook import Notebook

CLOSING, CUT = hint("closing", "en"), hint("cut", "en")
Step = ChatResponse | ProviderError


class Scripted:
    """A model that reads its answers from a list, in pieces, and remembers what it was asked."""

    name = "scripted"
    default_model = "scripted-1"

    def __init__(self, *steps: Step, hangs: bool = False) -> None:
        self.steps = list(steps)
        self.asked: list[ChatRequest] = []
        self.hangs = hangs
        self.closed = 0

    @asynccontextmanager
    async def stream(self, ask: ChatRequest, **how: object) -> AsyncIterator[AsyncIterator[StreamChunk]]:
        self.asked.append(ask)
        step = self.steps.pop(0)
        if isinstance(step, ProviderError):
            raise step
        try:
            async with aclosing(self._chunks(step)) as chunks:
                yield chunks
        finally:
            self.closed += 1

    async def _chunks(self, step: ChatResponse) -> AsyncGenerator[StreamChunk, None]:
        if step.thinking:
            yield StreamChunk(thinking=step.thinking)
        for word in step.content.split(" ") if step.content else ():
            yield StreamChunk(content=word)
        if self.hangs:
            await trio.sleep_forever()
        yield StreamChunk(done=msgspec.structs.replace(step, content=step.content.replace(" ", "")))

    async def models(self) -> list[str]:
        return [self.default_model]

    async def aclose(self) -> None:
        pass


class Ear:
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def activity(self, phase: str, iteration: int, tools: Any = ()) -> None:
        self.heard.append(("activity", phase, iteration, *tools))

    def chunk(self, text: str) -> None:
        self.heard.append(("chunk", text))

    def thinking(self, text: str) -> None:
        self.heard.append(("thinking", text))

    def tool_call(self, call: ToolCall, iteration: int) -> None:
        self.heard.append(("call", call.id, iteration))

    def note(self, note: object) -> None: ...

    def loop(self, what: str, facts: dict[str, Any]) -> None:
        self.heard.append(("loop", what, facts))

    def block(self, text: str) -> None:
        self.heard.append(("block", text))

    def tool_result(self, call: ToolCall, result: ToolResult) -> None:
        self.heard.append(("result", call.id, result.text))

    def of(self, *kinds: str) -> list[tuple[Any, ...]]:
        return [event for event in self.heard if event[0] in kinds]


class Ask(Struct):
    text: str = ""


def stand_in(name: str, work: Callable[[str], Awaitable[str]], effect: Effect = Effect.PURE) -> Tool:
    @tool(group="test", effect=effect, name=name, parallel=effect is Effect.PURE)
    async def fn(ctx: ToolContext, ask: Ask) -> str:
        """Do as told."""
        return await work(ask.text)

    return fn.__tool__  # type: ignore[attr-defined,no-any-return]


async def echo(text: str) -> str:
    return f"echo {text}"


LOOK = {"look": stand_in("look", echo)}
CTX = ToolContext(Workspace(Path("/nonexistent")), lambda: datetime.now(UTC), "")


def task(**more: Any) -> Task:
    facts: dict[str, Any] = {
        "model": "m",
        "system": "be kind",
        "history": (ChatMessage(role="user", content="hi"),),
        "options": ChatOptions(),
        "metadata": {"agent": "a"},
        "max_iterations": 20,
        "max_tool_calls": 25,
        "call_timeout": 300.0,
    }
    return Task(**{**facts, **more})


def wants(*calls: tuple[str, str, str], content: str = "", finish: FinishReason = "tool_calls") -> ChatResponse:
    """An answer that asks for tools: id, name and text of each."""
    wanted = tuple(ToolCall(id=id, name=name, arguments={"text": text}) for id, name, text in calls)
    usage = Usage(prompt_tokens=10, completion_tokens=1)
    return ChatResponse(content=content, tool_calls=wanted, finish_reason=finish, usage=usage)


def says(text: str, finish: FinishReason = "stop") -> ChatResponse:
    return ChatResponse(content=text, finish_reason=finish, usage=Usage(prompt_tokens=10, completion_tokens=2))


class Played(Struct):
    model: Any
    draft: Draft
    ear: Any
    notebook: Any


async def talk(
    task: Task, model: Any, tools: dict[str, Tool], ear: Ear, draft: Draft, notebook: Notebook | None = None
) -> None:
    notebook = notebook or Notebook()
    await answer(task, model, Toolbox(tools, CTX, notebook), notebook, ear, draft)


async def play(*steps: Step, tools: dict[str, Tool] = LOOK, notebook: Notebook | None = None, **more: Any) -> Played:
    notebook = notebook or Notebook()
    played = Played(Scripted(*steps), notebook.draft(), Ear(), notebook)
    await talk(task(**more), played.model, tools, played.ear, played.draft, notebook)
    assert not played.draft.open_calls
    assert repair(played.draft.messages) == played.draft.messages
    return played


# --- answers --------------------------------------------------------------------------------------


async def test_an_answer_without_tools_is_streamed_and_kept() -> None:
    played = await play(ChatResponse(content="hello you", thinking="hm", usage=Usage(prompt_tokens=3), offline=True))

    assert played.ear.heard == [("activity", "thinking", 1), ("thinking", "hm"), ("chunk", "hello"), ("chunk", "you")]
    assert played.draft.messages == [ChatMessage(role="assistant", content="helloyou", thinking="hm")]
    assert (played.draft.text, played.draft.finish_reason, played.draft.offline) == ("helloyou", "stop", True)


async def test_an_answer_that_nobody_pays_for_any_more_is_the_last() -> None:
    enough = ChatResponse(content="enough", out_of_budget=True)
    played = await play(wants(("c1", "look", "a"), content="first"), enough)

    assert (played.draft.text, played.draft.finish_reason) == ("enough", "max_iterations")


async def test_a_model_is_asked_with_all_there_is() -> None:
    (asked,) = (await play(says("ok"), options=ChatOptions(temperature=0.1))).model.asked
    assert asked.messages == (ChatMessage(role="system", content="be kind"), ChatMessage(role="user", content="hi"))
    assert (asked.model, asked.options.temperature, asked.metadata) == ("m", 0.1, {"agent": "a"})
    assert [spec.name for spec in asked.tools] == ["look"]


async def test_tools_are_called_and_their_results_shown_to_the_model() -> None:
    played = await play(wants(("c1", "look", "up"), content="let me see"), says("the sky"))

    assert [m.role for m in played.model.asked[1].messages] == ["system", "user", "assistant", "tool"]
    assert played.model.asked[1].messages[-1].content == "echo up"
    assert played.draft.messages[0].content == "letmesee"
    assert played.draft.text == "thesky"
    assert played.draft.usage.total_tokens == 23
    assert (played.draft.iterations, played.draft.tool_calls) == (2, 1)
    assert played.ear.of("activity", "call", "result") == [
        ("activity", "thinking", 1),
        ("activity", "tool_exec", 1, "look"),
        ("call", "c1", 1),
        ("result", "c1", "echo up"),
        ("activity", "thinking", 2),
    ]


async def test_a_failing_tool_is_a_result_and_the_run_goes_on() -> None:
    async def fail(text: str) -> str:
        raise ToolFailed("not_found", "nothing there")

    played = await play(wants(("c1", "look", "")), says("sorry"), tools={"look": stand_in("look", fail)})
    assert played.draft.messages[1].is_error
    assert played.draft.messages[1].content == "Error: nothing there"


async def test_an_answer_cut_by_its_length_says_so() -> None:
    assert (await play(says("and then", finish="length"))).draft.finish_reason == "length"


# --- limits ---------------------------------------------------------------------------------------


async def test_the_last_iteration_has_no_tools_and_is_told_to_close() -> None:
    steps = [wants((f"c{n}", "look", "")) for n in range(2)]
    played = await play(*steps, says("enough"), max_iterations=3)

    assert [len(ask.tools) for ask in played.model.asked] == [1, 1, 0]
    assert [CLOSING in ask.messages[0].content for ask in played.model.asked] == [False, False, True]
    assert played.draft.finish_reason == "stop"


async def test_a_model_that_still_wants_tools_at_the_end_is_not_obeyed() -> None:
    played = await play(wants(("c1", "look", ""), content="I would look"), max_iterations=1)
    assert played.draft.messages == [ChatMessage(role="assistant", content="Iwouldlook")]
    assert played.draft.finish_reason == "max_iterations"


async def test_calls_beyond_the_budget_are_answered_without_being_run() -> None:
    ran = []

    async def note(text: str) -> str:
        ran.append(text)
        return "ok"

    batch = wants(("1", "look", "a"), ("2", "look", "b"), ("3", "look", "c"))
    played = await play(batch, says("done"), tools={"look": stand_in("look", note)}, max_tool_calls=2)

    assert sorted(ran) == ["a", "b"]
    assert [m.content for m in played.draft.messages[1:4]] == ["ok", "ok", "Error: tool budget exhausted (2/2)"]
    assert played.model.asked[1].tools == ()
    assert CLOSING in played.model.asked[1].messages[0].content
    assert played.draft.tool_calls == 2


async def test_al04_of_thirty_calls_in_one_batch_twenty_five_are_made_and_all_are_answered() -> None:
    """AL-04. 25 executed, 5 error results, every id answered."""
    batch = wants(*((f"c{n}", "look", f"{n}") for n in range(30)))
    played = await play(batch, says("done"))

    results = played.draft.messages[1:31]
    assert [message.tool_call_id for message in results] == [f"c{n}" for n in range(30)]
    assert [message.content for message in results[:25]] == [f"echo {n}" for n in range(25)]
    assert [message.content for message in results[25:]] == ["Error: tool budget exhausted (25/25)"] * 5
    assert (played.draft.tool_calls, played.draft.stop_reason) == (25, "max_tool_calls")


async def test_without_a_budget_calls_go_on() -> None:
    steps = [wants((f"{n}", "look", f"{n}")) for n in range(29)]
    assert (await play(*steps, says("done"), max_tool_calls=0, max_iterations=200)).draft.tool_calls == 29


# --- answers cut inside of a call -----------------------------------------------------------------


async def test_a_call_that_was_cut_off_is_not_run_and_the_model_may_try_again() -> None:
    """AL-33. `finish_reason` length with calls: not executed, a hint is sent, the model is asked again."""
    cut = wants(("c1", "look", "half"), finish="length")
    played = await play(cut, says("short"))

    assert played.draft.tool_calls == 0
    assert played.model.asked[1].messages[-1] == ChatMessage(role="user", content=CUT)
    assert played.draft.messages == [ChatMessage(role="assistant", content="short")]
    assert played.draft.finish_reason == "stop"


async def test_the_third_cut_in_a_row_is_the_answer() -> None:
    cut = wants(("c1", "look", "half"), content="so far", finish="length")
    played = await play(cut, cut, cut)
    assert (played.draft.text, played.draft.finish_reason) == ("sofar", "length")
    assert played.draft.tool_calls == 0


async def test_cuts_count_only_in_a_row() -> None:
    cut = wants(("c1", "look", "half"), finish="length")
    played = await play(cut, cut, wants(("c2", "look", "")), cut, cut, says("ok"))
    assert (played.draft.text, played.draft.tool_calls) == ("ok", 1)
    assert all(message.content != CUT for message in played.draft.messages)


# --- parallel calls -------------------------------------------------------------------------------


async def test_calls_that_only_read_run_two_at_a_time_and_report_in_order() -> None:
    ended: list[str] = []
    others_done = trio.Event()
    together = most = 0

    async def work(text: str) -> str:
        nonlocal together, most
        together += 1
        most = max(most, together)
        if text == "a":  # keeps one of the two places until all others went through the other one
            await others_done.wait()
        else:
            await trio.testing.wait_all_tasks_blocked()
        together -= 1
        ended.append(text)
        if len(ended) == 3:
            others_done.set()
        return text

    batch = wants(*((n, "look", n) for n in "abcd"))
    with trio.fail_after(5):
        played = await play(batch, says("done"), tools={"look": stand_in("look", work)})

    assert ended[-1] == "a"
    assert most == 2
    assert [event[1] for event in played.ear.of("result")] == ["a", "b", "c", "d"]
    assert [m.content for m in played.draft.messages[1:5]] == ["a", "b", "c", "d"]


async def test_al13_two_safe_calls_of_a_second_take_one_second(autojump_clock: MockClock) -> None:
    """AL-13. About 1 s wall, results in call order."""

    async def work(text: str) -> str:
        await trio.sleep(1 if text == "a" else 0.9)
        return text

    batch = wants(("1", "look", "a"), ("2", "look", "b"))
    began = trio.current_time()
    played = await play(batch, says("done"), tools={"look": stand_in("look", work)})

    assert trio.current_time() - began == 1.0
    assert [message.content for message in played.draft.messages[1:3]] == ["a", "b"]


@pytest.mark.parametrize("kinds", ["rwr", "wrr", "rrw", "www", "wrrw"])
async def test_a_call_that_changes_something_runs_alone_and_in_its_place(kinds: str) -> None:
    """AL-14. Write and read in one batch are executed in order."""
    running: set[str] = set()
    begun: list[str] = []

    async def work(text: str) -> str:
        assert not any(kinds[int(other)] == "w" for other in running)
        assert kinds[int(text)] == "r" or not running
        running.add(text)
        begun.append(text)
        await trio.testing.wait_all_tasks_blocked()
        running.remove(text)
        return text

    tools = {"r": stand_in("r", work), "w": stand_in("w", work, Effect.UNSAFE)}
    batch = wants(*((str(n), kind, str(n)) for n, kind in enumerate(kinds)))
    played = await play(batch, says("done"), tools=tools)

    changes = [n for n in begun if kinds[int(n)] == "w"]
    assert changes == sorted(changes)
    assert [m.content for m in played.draft.messages if m.role == "tool"] == [str(n) for n in range(len(kinds))]
    assert not any(m.is_error for m in played.draft.messages)


# --- trouble --------------------------------------------------------------------------------------


async def test_a_provider_error_leaves_what_was_done() -> None:
    model, draft = Scripted(wants(("c1", "look", "")), ProviderError("overloaded", "busy")), Draft()
    with pytest.raises(ProviderError, match="busy"):
        await talk(task(), model, LOOK, Ear(), draft)
    assert [m.role for m in draft.messages] == ["assistant", "tool"]
    assert draft.usage.total_tokens == 11


async def test_a_model_that_takes_too_long_is_left(autojump_clock: MockClock) -> None:
    model, draft = Scripted(says("one two"), hangs=True), Draft()
    began = trio.current_time()

    with pytest.raises(ProviderError) as error:
        await talk(task(call_timeout=7.0), model, LOOK, Ear(), draft)

    assert error.value.kind == "timeout"
    assert trio.current_time() - began == 7.0
    assert model.closed == 1
    assert draft.text == "onetwo"


async def test_what_no_database_takes_is_not_heard_either() -> None:
    ear, draft = Ear(), Draft()
    await talk(task(), Scripted(says("one\0two")), LOOK, ear, draft)

    assert draft.messages[-1].content == draft.text == "onetwo"


async def test_a_stream_that_ends_without_an_end_is_a_bad_answer() -> None:
    class Silent(Scripted):
        async def _chunks(self, step: ChatResponse) -> AsyncGenerator[StreamChunk, None]:
            yield StreamChunk(content="and")

    with pytest.raises(ProviderError) as error:
        await talk(task(), Silent(says("")), LOOK, Ear(), Draft())
    assert error.value.kind == "server_error"


async def test_a_cancel_in_the_middle_gives_every_call_its_one_result() -> None:
    """The first call is done, the second works, the third waits: the first keeps what it achieved."""
    working = trio.Event()

    async def work(text: str) -> str:
        if text == "second":
            working.set()
            await trio.sleep_forever()
        return f"{text} done"

    tools = {"change": stand_in("change", work, Effect.UNSAFE)}
    model = Scripted(wants(*((text, "change", text) for text in ("first", "second", "third"))))
    draft, ear = Draft(), Ear()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk, task(), model, tools, ear, draft)
        await working.wait()
        nursery.cancel_scope.cancel()
    interrupt(ear, draft)
    interrupt(ear, draft)  # twice is the same as once

    assert ear.of("result") == [("result", "first", "first done"), *cancelled("second", "third")]
    assert [m.is_error for m in draft.messages if m.role == "tool"] == [False, True, True]
    assert repair(draft.messages) == draft.messages


def cancelled(*ids: str) -> list[tuple[str, str, str]]:
    return [("result", id, "cancelled") for id in ids]


async def test_a_cancel_while_reading_in_parallel_gives_every_call_its_one_result() -> None:
    async def hang(text: str) -> str:
        await trio.Event().wait()
        return ""

    model = Scripted(wants(*((n, "look", n) for n in "abc")))
    draft, ear = Draft(), Ear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk, task(), model, {"look": stand_in("look", hang)}, ear, draft)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    interrupt(ear, draft)

    assert ear.of("result") == cancelled("a", "b", "c")


# --- ids ------------------------------------------------------------------------------------------


@given(
    st.lists(st.sampled_from(["", "a", "b", "x" * 40, "x" * 41, "call_0"]), max_size=8),
    st.sets(st.sampled_from(["a", "b", "call_0"])),
    st.integers(1, 3),
)
def test_ids_exist_are_short_and_never_repeat(ids: list[str], taken: set[str], iteration: int) -> None:
    calls = [ToolCall(id=id, name="look", arguments={"n": n}) for n, id in enumerate(ids)]

    fixed = distinct(calls, {"", *taken}, iteration)

    assert len({call.id for call in fixed} | taken) == len(ids) + len(taken)
    assert all(1 <= len(call.id) <= 40 for call in fixed)
    assert [call.arguments for call in fixed] == [call.arguments for call in calls]
    assert fixed == distinct(calls, {"", *taken}, iteration)  # the same again after a crash
    kept = [call.id for call, given in zip(fixed, ids, strict=True) if call.id == given]
    assert set(kept) == {id for id in ids if 0 < len(id) <= 40} - taken


async def test_an_id_the_model_used_before_is_replaced() -> None:
    history = (
        ChatMessage(role="user", content="hi"),
        ChatMessage(role="assistant", tool_calls=(ToolCall(id="call_0", name="look"),)),
        ChatMessage(role="tool", tool_call_id="call_0", content="seen"),
        ChatMessage(role="user", content="again"),
    )
    batch = wants(("call_0", "look", ""))
    played = await play(batch, batch, says("ok"), history=history)

    ids = [call.id for message in played.draft.messages for call in message.tool_calls]
    assert len({"call_0", *ids}) == 3
    assert [event[1] for event in played.ear.of("call")] == ids
