"""A run once more, from what it wrote down. Contract: durability.md §16.

`verify` plays every life with the recorded answers and must arrive at the same log, byte for byte. `what_if` plays
up to a step and goes on from there with a living model. Nothing here can write: tools give their recorded results
or none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from msgspec import Struct

from goclaw.agent.act import interrupt, result_of
from goclaw.agent.loop import answer
from goclaw.agent.recorder import Level, Recorder, Row
from goclaw.agent.turn import Draft, Journal, Task, resumed
from goclaw.domain.budget import about_money
from goclaw.domain.chat import ChatMessage, ChatRequest, ChatResponse, StreamChunk, ToolCall, ToolSpec, Usage
from goclaw.domain.errors import ProviderError, Rejected
from goclaw.providers.provider import Model, Tell, silent
from goclaw.tools.ledger import Place, ToolResult

SUPPRESSED = "[not executed: replay]"
Tools = Literal["recorded", "pure", "off"]


class EndOfRecord(Exception):
    """Nothing is written down from here on: this life ended in the middle."""


class Life(Struct, frozen=True):
    """What one life of a run wrote down, from its `open` on."""

    opened: dict[str, Any]
    rows: tuple[Row, ...]


def lives(rows: Sequence[Row]) -> list[Life]:
    found: list[list[Row]] = []
    for row in rows:
        if row.kind == "open":
            found.append([])
        if found:
            found[-1].append(row)
    return [Life(group[0].body, tuple(group)) for group in found]


@dataclass
class Stand:
    """How far the replay has come, over all lives."""

    steps: dict[int, ChatMessage] = field(default_factory=dict)
    usage: dict[int, Usage] = field(default_factory=dict)
    suppressed: list[dict[str, Any]] = field(default_factory=list)
    unmatched: list[dict[str, Any]] = field(default_factory=list)

    def take(self, given: Iterable[dict[str, Any]]) -> None:
        """Steps of a run it was requeued from."""
        for step in given:
            number = step["step_no"]
            self.steps[number] = msgspec.convert(step["message"], ChatMessage)
            self.usage[number] = msgspec.convert(step["usage"], Usage | None) or Usage()

    def draft(self, before: int) -> Draft:
        """As the journal of a run gives it back: what came before a step."""
        numbers = sorted(number for number in self.steps if number < before)
        return resumed((number, self.steps[number], self.usage.get(number)) for number in numbers)


class RecordedModel:
    """Gives the answers of one life in their order, cut as they came; from step `alive_from` on asks `live`."""

    name = "recorded"

    def __init__(self, life: Life, draft: Draft, live: Model | None = None, alive_from: int = 0) -> None:
        self._rows = [row for row in life.rows if row.kind in ("chunks", "response")]
        self._draft = draft
        self._live = live
        self._alive_from = alive_from

    @asynccontextmanager
    async def stream(self, ask: ChatRequest, *, tell: Tell = silent) -> AsyncIterator[AsyncIterator[StreamChunk]]:
        if self._live is not None and self._draft.step >= self._alive_from:
            async with self._live.stream(ask, tell=tell) as chunks:
                yield chunks
        else:
            async with aclosing(self._recorded()) as chunks:
                yield chunks

    async def _recorded(self) -> AsyncGenerator[StreamChunk, None]:
        cuts: list[tuple[str, int]] = []
        if self._rows and self._rows[0].kind == "chunks":
            cuts = self._rows.pop(0).body["cuts"]
        if not self._rows:
            raise EndOfRecord
        body = self._rows.pop(0).body
        if "error" in body:
            raise ProviderError(body["error"], body["message"], status=body["status"])
        done = msgspec.convert({name: body[name] for name in body if name != "log"}, ChatResponse)
        left = {"thinking": done.thinking, "content": done.content}
        for kind, length in cuts or [(kind, len(text)) for kind, text in left.items() if text]:
            piece, left[kind] = left[kind][:length], left[kind][length:]
            yield StreamChunk(thinking=piece) if kind == "thinking" else StreamChunk(content=piece)
        yield StreamChunk(done=done)


class RecordedHands:
    """Gives the results that calls had: the n-th of equal calls that of the n-th. `run` makes a call of a pure tool."""

    def __init__(
        self,
        life: Life,
        specs: tuple[ToolSpec, ...],
        stand: Stand,
        only_reads: Callable[[ToolCall], bool],
        *,
        tools: Tools = "recorded",
        strict: bool = True,
        run: Callable[[ToolCall, Place], Any] | None = None,
    ) -> None:
        self.specs = specs
        self.only_reads = only_reads
        self._stand = stand
        self._tools = tools
        self._strict = strict
        self._run = run
        self._results: dict[bytes, list[dict[str, Any]]] = defaultdict(list)
        for row in life.rows:
            if row.kind == "tool":
                self._results[_same_call(row.body["call"]["name"], row.body["call"]["arguments"])].append(row.body)

    def beside_others(self, wanted: ToolCall) -> bool:
        return False  # their results are there already

    async def act(self, wanted: ToolCall, place: Place) -> ToolResult:
        waiting = self._results.get(_same_call(wanted.name, wanted.arguments))
        if waiting and self._tools != "off":
            body = waiting.pop(0)
            return ToolResult(text=body["text"], is_error=body["is_error"], error_code=body["error_code"])
        if self._strict:
            raise EndOfRecord
        self._stand.unmatched.append({"step": place.step, "tool": wanted.name})
        if self._tools == "pure" and self._run is not None and self.only_reads(wanted):
            result: ToolResult = await self._run(wanted, place)
            return result
        self._stand.suppressed.append({"step": place.step, "tool": wanted.name, "arguments": wanted.arguments})
        return ToolResult(text=SUPPRESSED)


class ReplayJournal:
    """Keeps steps in memory and writes down what a run would have; says what somebody said, where he said it."""

    def __init__(self, life: Life, recorder: Recorder, stand: Stand, effect_of: Callable[[ToolCall], str]) -> None:
        self.recorder = recorder
        self._stand = stand
        self._effect_of = effect_of
        self._inputs = [row for row in life.rows if row.kind == "input"]
        self._own: list[str] = []  # where nothing is written down of what it told itself

    def asked(self, ask: ChatRequest) -> None:
        self.recorder.asked(ask)

    def heard(self, chunk: StreamChunk) -> None:
        self.recorder.heard(chunk)

    def answered(self, step: int, response: ChatResponse) -> None:
        self.recorder.answered(step, response)

    def failed(self, error: ProviderError) -> None:
        self.recorder.failed(error)

    async def thought(self, draft: Draft, step: int, said: ChatMessage, usage: Usage) -> None:
        self._stand.steps[step], self._stand.usage[step] = said, usage

    async def acted(self, draft: Draft, step: int, results: Sequence[tuple[int, ToolCall, ToolResult]]) -> None:
        for index, wanted, result in results:
            self.recorder.acted(step, index, wanted, self._effect_of(wanted), result)
            self._stand.steps[step + 1 + index] = result_of(wanted, result)

    def has_news(self) -> bool:
        """As it was after so many questions to the model."""
        return bool(self._own) or self._was_told()

    def _was_told(self) -> bool:
        return bool(self._inputs) and self._inputs[0].body["after"] == self.recorder.requests

    async def told(self, draft: Draft) -> list[ChatMessage]:
        messages: list[ChatMessage] = []
        while self.has_news():
            text = self._inputs.pop(0).body["text"] if self._was_told() else self._own.pop(0)
            number = draft.step + len(messages)
            self.recorder.told(number, text)
            messages.append(ChatMessage(role="user", content=text))
            self._stand.steps[number] = messages[-1]
        return messages

    def go_on(self, text: str) -> None:
        if not self._was_told():
            self._own.append(text)

    def left(self) -> float:
        return 0.0


@dataclass
class Played:
    """One life, played."""

    draft: Draft
    rows: list[Row]
    log: str
    ended: bool  # with an answer
    stopped: bool = False  # no purse paid for another answer


async def play(
    life: Life,
    task: Task,
    stand: Stand,
    *,
    log: str,
    level: Level,
    voice_for: Callable[[Recorder, int, bool], Any],
    effect_of: Callable[[ToolCall], str],
    shared: str,
    live: Model | None = None,
    alive_from: int = 0,
    tools: Tools = "recorded",
    run: Callable[[ToolCall, Place], Any] | None = None,
) -> Played:
    """One life once more. `log` is the hash the one before it ended with.

    With `live` the model is asked from step `alive_from` on, and calls nobody recorded are suppressed.
    """
    opened = life.opened
    stand.take(opened.get("given", ()))
    draft = stand.draft(opened["step"])
    recorder = Recorder(level, log)
    voice = voice_for(recorder, opened["said"], opened["stream"])
    facts = {name: value for name, value in opened.items() if name not in ("record", "log")}
    recorder.open(shared, **facts)
    journal: Journal = ReplayJournal(life, recorder, stand, effect_of)
    model = RecordedModel(life, draft, live, alive_from)
    specs = tuple(msgspec.convert(msgspec.json.decode(shared)["tools"], list[ToolSpec]))
    hands = RecordedHands(
        life,
        specs,
        stand,
        lambda wanted: effect_of(wanted) == "pure",
        tools=tools,
        strict=live is None,
        run=run,
    )
    ended, stopped, unheard = True, False, False
    try:
        try:
            await answer(task, model, hands, journal, voice, draft)
        except* EndOfRecord:
            ended, unheard = False, True
            interrupt(voice, draft)
    except ProviderError as error:
        ended = False
        recorder.failed(error)
    except Rejected as refusal:
        if not about_money(refusal.err):
            raise
        ended, stopped = False, True
    if ended:
        voice.flush()
        recorder.end(draft.text, draft.finish_reason)
        stand.steps[draft.step] = draft.messages[-1]
    rows, _ = recorder.take()
    if unheard and len(rows) > len(life.rows) and rows[-1].kind == "request":
        rows.pop()  # whoever died while a model thought had not stored that it was asked
    return Played(draft, rows, rows[-1].body["log"] if rows else log, ended, stopped)


def _same_call(name: str, arguments: dict[str, Any]) -> bytes:
    return msgspec.json.encode([name, arguments], order="sorted")
