"""One turn to answer, who takes part in it, and what has come of it so far.

The loop knows a model, tools, a journal and somebody who listens; it knows no actors and no tables. Whatever it has
said and done is in its `Draft`, so a run that is stopped keeps the part that exists, and one that died goes on from
the draft its journal gave back. Contract: agent-loop.md §3; durability.md §8.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from msgspec import Struct

from goclaw.agent.repeats import Repeats
from goclaw.domain.chat import (
    ChatMessage,
    ChatOptions,
    ChatRequest,
    ChatResponse,
    StreamChunk,
    ToolCall,
    ToolSpec,
    Usage,
)
from goclaw.domain.errors import ProviderError
from goclaw.domain.loop import Loop, LoopEnd
from goclaw.domain.model import Note
from goclaw.domain.run import FinishReason
from goclaw.domain.texts import Locale
from goclaw.providers.provider import Model
from goclaw.tools.ledger import Media, Place, ToolResult


class Listener(Protocol):
    """Hears what happens, as it happens. Must not wait."""

    def activity(self, phase: str, iteration: int, tools: Sequence[str] = ()) -> None: ...
    def chunk(self, text: str) -> None: ...
    def thinking(self, text: str) -> None: ...
    def tool_call(self, call: ToolCall, iteration: int) -> None: ...
    def tool_result(self, call: ToolCall, result: ToolResult) -> None: ...
    def block(self, text: str) -> None: ...
    def note(self, note: Note) -> None: ...
    def loop(self, what: str, facts: dict[str, Any]) -> None: ...


class Hands(Protocol):
    """What a run can do besides talking."""

    @property
    def specs(self) -> tuple[ToolSpec, ...]: ...

    def beside_others(self, wanted: ToolCall) -> bool: ...
    def only_reads(self, wanted: ToolCall) -> bool: ...

    async def act(self, wanted: ToolCall, place: Place) -> ToolResult: ...


class Journal(Protocol):
    """Keeps what a run did. What waits returns when it is in the store, and ends the run by raising."""

    def asked(self, ask: ChatRequest) -> None:
        """A model is about to be asked."""

    def heard(self, chunk: StreamChunk) -> None:
        """A piece of its answer came."""

    def answered(self, step: int, response: ChatResponse) -> None:
        """Its answer is complete."""

    def failed(self, error: ProviderError) -> None:
        """There is none, and the run goes on."""

    async def thought(self, draft: Draft, step: int, said: ChatMessage, usage: Usage) -> None:
        """The answer asks for tools: it is kept before any of them is called."""

    async def acted(self, draft: Draft, step: int, results: Sequence[tuple[int, ToolCall, ToolResult]]) -> None:
        """Calls of step `step` have ended, named by their number in it."""

    def has_news(self) -> bool:
        """Whether somebody said something to the run since `told`."""

    async def told(self, draft: Draft) -> list[ChatMessage]:
        """What that is, now kept as steps from `draft.step` on."""

    def go_on(self, text: str) -> None:
        """The run tells itself something. It comes with what others say."""

    def left(self) -> float:
        """Seconds until the run must have come to its end."""


class Task(Struct, frozen=True, kw_only=True):
    """One turn to answer. `history` ends with the user's message."""

    model: str
    system: str
    history: tuple[ChatMessage, ...]
    options: ChatOptions
    metadata: dict[str, str]
    max_iterations: int
    max_tool_calls: int  # 0 = unlimited
    call_timeout: float  # seconds for a model to answer in, once it has begun
    parallel: int = 2  # calls of one answer at a time
    window: int = 200_000  # tokens of the model
    mentioned: bool = False  # somebody waits for an answer: there is no saying nothing
    nothing_said: str = "..."  # instead of an empty answer …
    only_thought: str = "..."  # … and of one that was all thoughts
    hint: str = ""  # for this attempt only; never stored
    locale: Locale = "en"  # of hints
    loop: Loop | None = None  # it goes on by itself


@dataclass
class Draft:
    """The answer so far: messages to store in order, the text of the current segment, what it cost."""

    messages: list[ChatMessage] = field(default_factory=list)
    text: str = ""
    usage: Usage = field(default_factory=Usage)
    iterations: int = 0
    tool_calls: int = 0
    finish_reason: FinishReason = "stop"
    offline: bool = False
    open_calls: dict[str, ToolCall] = field(default_factory=dict)  # announced, without a result yet
    step: int = 0  # the number of the next one: a model's answer, each of its calls, a text that came in
    unanswered: tuple[tuple[int, ToolCall], ...] = ()  # calls a former life left open …
    asked_in: int = 0  # … and the step that asked for them
    closing: bool = False  # the last question to the model is asked, or answered
    silent: bool = False  # the answer is that there is none
    stop_reason: str = "final"  # agent-loop.md §2.2
    media: list[Media] = field(default_factory=list)  # files to be delivered with the answer
    hints: list[str] = field(default_factory=list)  # for the next question alone
    fits: bool | None = None  # the answer is JSON of the form that was asked for
    circle: str = ""  # why the model was stopped going round in circles
    repeats: Repeats = field(default_factory=Repeats)
    full: int = 0  # tokens of what was last asked and answered
    summary: str = ""  # that models read instead of …
    covered: int = 0  # … so many messages of history and draft
    shrunk: int = 0  # how often what models read was made smaller
    began: tuple[int, int] = (0, 0)  # iterations and calls before the step of a loop it is in
    loop: LoopEnd | None = None  # why there is no other step

    @property
    def iteration(self) -> int:
        """In this step, which is the whole run if there is no other."""
        return self.iterations - self.began[0]

    @property
    def calls(self) -> int:
        return self.tool_calls - self.began[1]


def resumed(steps: Iterable[tuple[int, ChatMessage, Usage | None]]) -> Draft:
    """The draft that a run's steps so far make, given by number, in order (durability.md §8.2)."""
    draft = Draft()
    left: dict[int, ToolCall] = {}
    for number, message, usage in steps:
        draft.messages.append(message)
        draft.step = number + 1
        match message.role:
            case "assistant":
                draft.iterations, draft.asked_in = draft.iterations + 1, number
                draft.usage += usage or Usage()
                draft.full = usage.prompt_tokens + usage.completion_tokens if usage is not None else 0
                left = dict(enumerate(message.tool_calls))
            case "tool":
                draft.tool_calls += 1
                left.pop(number - draft.asked_in - 1, None)
    draft.unanswered = tuple(sorted(left.items()))
    return draft


@dataclass(frozen=True)
class Turn:
    """A turn with all who take part in it."""

    task: Task
    model: Model
    hands: Hands
    journal: Journal
    listener: Listener
    draft: Draft
