"""What a run wrote down is enough to run it again, byte for byte. Contract: durability.md §16."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goclaw.agent.act import interrupt
from goclaw.agent.compare import compare
from goclaw.agent.recorder import Level, Recorder, Row
from goclaw.agent.replay import SUPPRESSED, Played, RecordedModel, Stand, lives, play
from goclaw.agent.turn import Draft
from goclaw.domain.chat import ChatMessage, ChatRequest, ChatResponse, StreamChunk, ToolCall, Usage
from goclaw.domain.errors import ProviderError
from goclaw.domain.loop import Loop
from goclaw.tools.ledger import ToolResult
from goclaw.tools.pipeline import effect_of
from goclaw.tools.tool import Tool
from tests.agent.notebook import Notebook
from tests.agent.test_loop import Scripted, says, talk, task, wants
from tests.agent.test_resume import Deeds, Died, tools_of


class Written(Notebook):
    """A notebook whose records become rows when something is stored, and are lost when the run dies before that."""

    def __init__(self, level: Level) -> None:
        super().__init__()
        self.level = level
        self.rows: list[Row] = []
        self.say_at: dict[int, str] = {}  # what somebody says while the model is asked so often

    def begin_life(self, draft: Draft) -> Spoken:
        log = self.rows[-1].body["log"] if self.rows else ""
        self.recorder = Recorder(self.level, log)
        return Spoken(self.recorder, seq=len(lives(self.rows)) * 1000)

    def store(self) -> None:
        self.rows += self.recorder.take()[0]

    def asked(self, ask: ChatRequest) -> None:
        super().asked(ask)
        self.recorder.asked(ask)
        if text := self.say_at.pop(len(self.asks), ""):
            self.news.append(text)

    def heard(self, chunk: StreamChunk) -> None:
        self.recorder.heard(chunk)

    def answered(self, step: int, response: ChatResponse) -> None:
        self.recorder.answered(step, response)

    def failed(self, error: ProviderError) -> None:
        self.recorder.failed(error)

    async def thought(self, draft: Draft, step: int, said: ChatMessage, usage: Usage) -> None:
        await super().thought(draft, step, said, usage)
        self.store()

    async def acted(self, draft: Draft, step: int, results: Sequence[tuple[int, ToolCall, ToolResult]]) -> None:
        for index, wanted, result in results:
            self.recorder.acted(step, index, wanted, wanted.name, result)
        await super().acted(draft, step, results)
        self.store()

    async def told(self, draft: Draft) -> list[ChatMessage]:
        for number, text in enumerate(self.news, draft.step):
            self.recorder.told(number, text)
        messages = await super().told(draft)
        self.store()
        return messages


class Spoken:
    """A voice that only the recorder hears."""

    def __init__(self, recorder: Recorder, seq: int, stream: bool = True) -> None:
        self.recorder = recorder
        self.seq = seq

    def say(self, type: str, text: str = "", **body: Any) -> None:
        self.seq += 1
        self.recorder.event(type, self.seq, text, msgspec.json.encode({**body, "ts": time.time()}))

    def activity(self, phase: str, iteration: int, tools: Sequence[str] = ()) -> None:
        self.say("activity", phase=phase, iteration=iteration, tools=list(tools))

    def chunk(self, text: str) -> None:
        self.say("chunk", text)

    def thinking(self, text: str) -> None:
        self.say("thinking", text)

    def tool_call(self, call: ToolCall, iteration: int) -> None:
        self.say("tool.call", id=call.id, arguments=call.arguments)

    def note(self, note: object) -> None: ...

    def loop(self, what: str, facts: dict[str, Any]) -> None:
        self.say(f"loop.{what}", **facts)

    def block(self, text: str) -> None:
        self.say("block.reply", content=text)

    def tool_result(self, call: ToolCall, result: ToolResult) -> None:
        self.say("tool.result", id=call.id, text=result.text, durationMs=time.perf_counter_ns())

    def flush(self) -> None: ...


def shared_of(tools: dict[str, Tool]) -> str:
    return msgspec.json.encode({"system": "be kind", "tools": [one.spec for one in tools.values()]}).decode()


SHARED = shared_of(tools_of(Deeds([], [])))  # tools look the same whoever made them


async def live(book: Written, deeds: Deeds, model: Scripted, tools: dict[str, Tool], loop: Loop | None = None) -> bool:
    """One life, from what the book holds. True if it came to its answer."""
    draft = book.draft()
    ear = book.begin_life(draft)
    book.recorder.open(
        SHARED, step=draft.step, hint="", stream=True, said=ear.seq, history=None, model="m", level=book.level
    )
    died = False
    try:
        try:
            await talk(task(loop=loop), model, tools, ear, draft, book)  # type: ignore[arg-type]
        except* Died:
            died = True
    except ProviderError as error:
        book.recorder.failed(error)
        book.store()
        interrupt(ear, draft)
        return False
    if died:
        return False
    book.recorder.end(draft.text, draft.finish_reason)
    book.store()
    return True


async def again(
    rows: list[Row], level: Level, box: dict[str, Tool], loop: Loop | None = None, **more: Any
) -> tuple[list[Row], Stand]:
    played: list[Row] = []
    stand, log = Stand(), ""
    for life in lives(rows):
        one: Played = await play(
            life,
            task(loop=loop),
            stand,
            log=log,
            level=level,
            voice_for=Spoken,
            effect_of=lambda wanted: effect_of(box, wanted),
            shared=SHARED,
            **more,
        )
        played += one.rows
        log = one.log
    return played, stand


KINDS = st.sampled_from(["pure", "keyed", "local", "checkable", "unsafe"])
TURN = st.one_of(
    st.lists(KINDS, min_size=1, max_size=3).map(lambda kinds: ("calls", kinds)),
    st.just(("cut", [])),
    st.just(("error", [])),
    st.just(("overflow", [])),
)


@given(
    turns=st.lists(TURN, max_size=4),
    deaths=st.lists(st.integers(0, 11), max_size=2),
    injected=st.dictionaries(st.integers(1, 4), st.sampled_from(["wait", "and this"]), max_size=2),
    level=st.sampled_from(["steps", "full"]),
    loop=st.sampled_from([None, Loop(max_steps=3)]),
)
async def test_any_run_played_again_has_the_same_log(
    turns: list[tuple[str, list[str]]],
    deaths: list[int],
    injected: dict[int, str],
    level: Level,
    loop: Loop | None,
) -> None:
    """RP-1: tools, parallel calls, cuts, failures, overflows, injections, loops and deaths, all at random."""
    answers: list[ChatResponse | ProviderError] = []
    names: list[str] = []
    for t, (what, kinds) in enumerate(turns):
        if what == "calls":
            calls = [(f"id{t}.{c}", kind, f"{t}.{c}") for c, kind in enumerate(kinds)]
            names += [text for _, _, text in calls]
            answers.append(wants(*calls, content=f"let me see {t}"))
        elif what == "cut":
            answers.append(wants(("x", "pure", "cut"), finish="length"))
        elif what == "overflow":
            answers.append(ProviderError("context_overflow", "too long"))
        else:
            answers.append(ProviderError("overloaded", "busy"))
    answers += [says("one more word"), says("the very end"), says("really the end"), says("amen"), says("so be it")]
    deeds, book = Deeds([], []), Written(level)
    book.say_at = dict(injected)
    tools = tools_of(deeds)
    model = Scripted(*answers)
    for death in [*deaths, *[None] * 10]:
        deeds.die_in = names[death % len(names)] if names and death is not None else ""
        if await live(book, deeds, model, tools, loop):
            break
    else:
        pytest.fail("it never came to an end")

    done = list(deeds.done)
    played, stand = await again(book.rows, level, tools, loop)
    found = compare("r", "verify", book.rows, played, suppressed=stand.suppressed, unmatched=stand.unmatched)

    assert found.first_difference is None
    assert found.verdict == "identical"
    assert found.log["recorded"] == found.log["replayed"] != ""
    assert deeds.done == done, "nothing was done again"


@pytest.mark.parametrize("level", ["steps", "full"])
@pytest.mark.parametrize("said", [0, 1], ids=["at-the-question", "within-the-answer"])
async def test_who_died_while_a_model_thought_asked_as_often_as_is_written_down(level: Level, said: int) -> None:
    """The question of that moment was never stored: the next life asks it again."""

    class Mortal(Scripted):
        """The second answer takes the process with it."""

        async def _chunks(self, step: ChatResponse) -> AsyncGenerator[StreamChunk, None]:
            async with aclosing(super()._chunks(step)) as chunks:
                for _ in range(said if len(self.asked) == 2 else 9):
                    async for chunk in chunks:
                        yield chunk
                        break
            if len(self.asked) == 2:
                raise Died

    deeds, book = Deeds([], []), Written(level)
    tools = tools_of(deeds)
    model = Mortal(wants(("a", "unsafe", "mail")), says("never said"), says("sent it"))
    assert not await live(book, deeds, model, tools)
    assert await live(book, deeds, model, tools)

    played, _ = await again(book.rows, level, tools)
    found = compare("r", "verify", book.rows, played, suppressed=[], unmatched=[])

    assert [row.kind for row in played].count("request") == [row.kind for row in book.rows].count("request") == 2
    assert found.first_difference is None
    assert found.verdict == "identical"


async def recorded(level: Level = "full") -> tuple[Written, Deeds, dict[str, Tool]]:
    deeds, book = Deeds([], []), Written(level)
    tools = tools_of(deeds)
    model = Scripted(
        wants(("a", "unsafe", "mail"), ("b", "pure", "look")), wants(("c", "pure", "look")), says("sent it")
    )
    assert await live(book, deeds, model, tools)
    return book, deeds, tools


async def test_a_clock_in_the_loop_is_named_as_the_first_difference() -> None:
    """RP-2: what a run says must come from what it was told."""
    book, _, _ = await recorded()

    class Late(Spoken):
        def tool_call(self, call: ToolCall, iteration: int) -> None:
            self.say("tool.call", id=call.id, arguments=call.arguments, at=time.time_ns())

    played: list[Row] = []
    for life in lives(book.rows):
        one = await play(
            life,
            task(),
            Stand(),
            log="",
            level="full",
            voice_for=Late,
            effect_of=lambda wanted: wanted.name,
            shared=SHARED,
        )
        played += one.rows
    found = compare("r", "verify", book.rows, played, suppressed=[], unmatched=[])

    assert found.verdict == "different"
    assert found.first_difference is not None
    assert (found.first_difference["kind"], found.first_difference["path"]) == ("tool", "log")


async def test_another_prompt_is_named_as_the_first_difference() -> None:
    book, _, _ = await recorded()
    (life,) = lives(book.rows)
    one = await play(
        life,
        task(system="be rude"),
        Stand(),
        log="",
        level="full",
        voice_for=Spoken,
        effect_of=lambda wanted: wanted.name,
        shared=SHARED,
    )
    found = compare("r", "verify", book.rows, one.rows, suppressed=[], unmatched=[])
    assert found.first_difference is not None
    assert (found.first_difference["kind"], found.first_difference["path"]) == ("request", "/sha256")


async def test_another_model_does_nothing_and_is_shown_beside_the_first() -> None:
    """RP-3: calls nobody made are suppressed and listed; recorded ones give their result."""
    book, deeds, tools = await recorded()
    other = Scripted(wants(("x", "unsafe", "mail"), ("y", "unsafe", "another mail")), says("done so"))

    played, stand = await again(book.rows, "full", tools, live=other)
    found = compare("r", "what_if", book.rows, played, suppressed=stand.suppressed, unmatched=stand.unmatched)

    assert deeds.done == ["mail", "look", "look"], "no second mail"
    assert found.suppressed == [{"step": 0, "tool": "unsafe", "arguments": {"text": "another mail"}}]
    assert [pair.kind for pair in found.steps] == ["llm", "tool", "tool", "llm", "tool", "llm"]
    assert found.final.recorded == "sentit"
    assert found.final.replayed == "doneso"
    assert "-sentit" in found.final.diff
    assert (found.totals["recorded"].llm_calls, found.totals["replayed"].llm_calls) == (3, 2)
    assert other.asked[1].messages[-1].content == SUPPRESSED


async def test_the_living_model_is_asked_from_the_step_on_that_was_named() -> None:
    """RP-4."""
    book, _, tools = await recorded()
    other = Scripted(says("from here"))

    played, _ = await again(book.rows, "full", tools, live=other, alive_from=3)

    assert len(other.asked) == 1
    assert [m.tool_call_id for m in other.asked[0].messages if m.role == "tool"] == ["a", "b"]
    assert played[-1].body["content"] == "fromhere"


@pytest.mark.parametrize(("tools_", "expected"), [("recorded", "look done"), ("off", SUPPRESSED)])
async def test_tools_can_be_switched_off(tools_: Any, expected: str) -> None:
    book, _, tools = await recorded()
    other = Scripted(wants(("x", "pure", "look")), says("so"))
    await again(book.rows, "full", tools, live=other, tools=tools_)
    assert other.asked[1].messages[-1].content == expected


async def test_only_what_reads_is_run_when_nobody_recorded_it() -> None:
    book, _, tools = await recorded()

    async def run(wanted: ToolCall, place: Any) -> ToolResult:
        return ToolResult(text=f"looked at {wanted.arguments['text']}")

    other = Scripted(wants(("x", "pure", "elsewhere"), ("y", "unsafe", "elsewhere")), says("so"))
    _, stand = await again(book.rows, "full", tools, live=other, tools="pure", run=run)

    assert [m.content for m in other.asked[1].messages[-2:]] == ["looked at elsewhere", SUPPRESSED]
    assert [one["tool"] for one in stand.unmatched] == ["pure", "unsafe"]
    assert [one["tool"] for one in stand.suppressed] == ["unsafe"]


async def test_a_stream_is_cut_as_it_was_when_that_was_recorded() -> None:
    book, _, _ = await recorded("full")
    (life,) = lives(book.rows)
    draft = Draft()
    model = RecordedModel(life, draft)
    async with model.stream(book.asks[0]) as first:
        async for _ in first:
            pass
    async with model.stream(book.asks[1]) as second:
        async for _ in second:
            pass
    async with model.stream(book.asks[2]) as third:
        pieces = [chunk.content async for chunk in third if chunk.content]
    assert pieces == ["sent", "it"]


def test_off_writes_nothing() -> None:
    recorder = Recorder("off")
    recorder.open("x", step=0)
    recorder.event("chunk", 1, "a", b"{}")
    recorder.end("", "stop")
    assert recorder.take()[0] == []
