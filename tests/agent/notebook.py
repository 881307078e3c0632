"""A run's journal and ledger in memory, that a second life can read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from goclaw.agent.act import result_of
from goclaw.agent.turn import Draft, resumed
from goclaw.domain.chat import ChatMessage, ChatRequest, ChatResponse, StreamChunk, ToolCall, Usage
from goclaw.domain.errors import ProviderError
from goclaw.tools.ledger import Begun, Past, Place, ToolResult

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Notebook:
    """`steps` by number, as the store would have them; `news` is what somebody says to the run."""

    def __init__(self) -> None:
        self.steps: dict[int, ChatMessage] = {}
        self.usage: dict[int, Usage] = {}
        self.begun: dict[Place, Begun] = {}
        self.ended: dict[Place, ToolResult] = {}
        self.news: list[str] = []
        self.asks: list[ChatRequest] = []
        self.order: list[str] = []

    def asked(self, ask: ChatRequest) -> None:
        self.asks.append(ask)

    def heard(self, chunk: StreamChunk) -> None: ...

    def answered(self, step: int, response: ChatResponse) -> None:
        self.order.append(f"answered {step}")

    def failed(self, error: ProviderError) -> None:
        self.order.append(f"failed {error.kind}")

    async def thought(self, draft: Draft, step: int, said: ChatMessage, usage: Usage) -> None:
        self.order.append(f"thought {step}")
        assert step not in self.steps, "a step is written once"
        self.steps[step], self.usage[step] = said, usage

    async def acted(self, draft: Draft, step: int, results: Sequence[tuple[int, ToolCall, ToolResult]]) -> None:
        for index, wanted, result in results:
            self.order.append(f"acted {step}:{index}")
            assert step + 1 + index not in self.steps, "a call ends once"
            self.steps[step + 1 + index] = result_of(wanted, result)
            self.ended[Place(step, index)] = result

    def has_news(self) -> bool:
        return bool(self.news)

    async def told(self, draft: Draft) -> list[ChatMessage]:
        news = [ChatMessage(role="user", content=text) for text in self.news]
        self.news = []
        for number, message in enumerate(news, draft.step):
            self.steps[number] = message
        return news

    def go_on(self, text: str) -> None:
        self.news.append(text)

    def left(self) -> float:
        return 600.0

    def key(self, place: Place) -> str:
        return f"run:{place.step}:{place.index}"

    async def past(self, place: Place, request_hash: str) -> Past | None:
        begun = self.begun.get(place)
        if begun is None:
            return None
        known = {"key": self.key(place), "request_hash": begun.request_hash, "before": begun.before, "at": AT}
        return Past(**known, result=self.ended.get(place))

    async def begin(self, call: Begun) -> None:
        self.order.append(f"begun {call.place.step}:{call.place.index}")
        self.begun[call.place] = call

    def draft(self) -> Draft:
        """What another life of the run begins with."""
        return resumed((number, message, self.usage.get(number)) for number, message in sorted(self.steps.items()))
