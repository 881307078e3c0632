"""An agent that goes on by itself until it says it is done. Contract: agent-loop.md §15.1; durability.md §8.3, E16."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goclaw.agent.stream import Unsaid
from goclaw.domain.chat import ChatResponse
from goclaw.domain.loop import Loop, loop_of
from tests.agent.notebook import Notebook
from tests.agent.test_loop import LOOK, Ear, Played, Scripted, play, says, talk, task, wants

KEYWORD = "TASK_COMPLETE"


def loops(played: Played) -> list[str]:
    return [event[1] for event in played.ear.of("loop")]


async def test_al40_it_goes_on_until_it_says_the_word_which_nobody_reads() -> None:
    """AL-40. Loop mode with keyword ends `completed`, the keyword is not shown."""
    played = await play(
        says("one"), wants(("c", "look", "x")), says("two"), says(f"three\n{KEYWORD}"), loop=Loop(max_steps=9)
    )

    assert loops(played) == ["started", "step", "step", "step", "completed"]
    assert (played.draft.text, played.draft.finish_reason, played.draft.stop_reason) == ("three", "stop", "final")
    assert KEYWORD not in "".join(event[1] for event in played.ear.of("chunk"))
    assert KEYWORD not in "".join(message.content for message in played.draft.messages if message.role == "assistant")
    assert [m.content.partition(".")[0] for m in played.model.asked[-1].messages if m.role == "user"] == [
        "hi",
        "[Step 1 of 9",
        "[Step 2 of 9",
        "[Step 3 of 9",
    ]


async def test_the_word_alone_leaves_what_was_said_before() -> None:
    assert (await play(says("all done"), says(KEYWORD), loop=Loop())).draft.text == "alldone"


@pytest.mark.parametrize("loop", [Loop(max_steps=3), Loop(max_tokens=36)])
async def test_a_loop_ends_at_its_limit_with_what_it_has(loop: Loop) -> None:
    played = await play(*(says(f"{n}") for n in range(5)), loop=loop)

    assert loops(played) == ["started", "step", "step", "step", "budget_exceeded"]
    assert (played.draft.text, played.draft.finish_reason, played.draft.stop_reason) == (
        "2",
        "max_iterations",
        "budget",
    )


async def test_every_step_has_the_limits_of_a_run() -> None:
    step = [wants(("a", "look", "1")), wants(("b", "look", "2")), says("so far")]
    played = await play(*step, *step, says(KEYWORD), loop=Loop(), max_iterations=3, max_tool_calls=2)

    assert played.draft.tool_calls == 4
    assert [bool(ask.tools) for ask in played.model.asked] == [True, True, False, True, True, False, True]
    assert played.draft.stop_reason == "final", "not the limit of a step before"
    assert loops(played)[-1] == "completed"


async def test_one_that_goes_round_in_circles_is_not_sent_on() -> None:
    steps = [wants((f"c{n}", "look", "same")) for n in range(5)]
    played = await play(*steps, says("enough"), loop=Loop())

    assert (loops(played)[-1], played.draft.stop_reason) == ("failed", "loop_killed")


@pytest.mark.parametrize(("locale", "begins"), [("vi", "[Bước 1/25"), ("zh", "[第 1/25 步")])
async def test_it_is_sent_on_in_the_language_of_who_asked(locale: Any, begins: str) -> None:
    played = await play(says(KEYWORD), loop=Loop(), locale=locale)
    assert played.model.asked[0].messages[-1].content.startswith(begins)


class Died(BaseException):
    pass


class Mortal(Scripted):
    """Its process ends before it answers for the n-th time, for each n of `deaths`."""

    def __init__(self, steps: list[ChatResponse], deaths: set[int]) -> None:
        super().__init__(*steps)
        self.deaths = deaths

    def stream(self, ask: Any, **how: object) -> Any:
        if len(self.asked) in self.deaths:
            self.deaths.remove(len(self.asked))
            raise Died
        return super().stream(ask)


class Fragile(Notebook):
    """Its process ends after the n-th write, for each n of `deaths`."""

    def __init__(self, deaths: set[int]) -> None:
        super().__init__()
        self.deaths = deaths
        self.writes = 0

    async def thought(self, *given: Any) -> None:
        await super().thought(*given)
        self._dies()

    async def told(self, *given: Any) -> Any:
        said = await super().told(*given)
        self._dies()
        return said

    def _dies(self) -> None:
        self.writes += 1
        if self.writes in self.deaths:
            self.news.clear()  # what was not kept is gone
            raise Died


@given(asking=st.sets(st.integers(0, 19), max_size=4), writing=st.sets(st.integers(1, 39), max_size=4))
async def test_e16_twenty_steps_are_twenty_steps_wherever_it_dies(asking: set[int], writing: set[int]) -> None:
    """E16: every step is made once, told its own number, and budgets are exact."""
    notebook = Fragile(set(writing))
    model = Mortal([says(f"{n}") for n in range(30)], set(asking))
    for _ in range(len(asking) + len(writing) + 1):
        draft, ear = notebook.draft(), Ear()
        try:
            await talk(task(loop=Loop(max_steps=20)), model, LOOK, ear, draft, notebook)
            break
        except Died:
            continue

    assert [m.content for m in draft.messages if m.role == "assistant"] == [f"{n}" for n in range(20)]
    assert [m.content.partition(" of ")[0] for m in draft.messages if m.role == "user"] == [
        f"[Step {n}" for n in range(1, 21)
    ]
    assert len(model.asked) == 20
    assert draft.usage.total_tokens == 20 * 12
    assert draft.stop_reason == "budget"


@given(st.lists(st.sampled_from(["TASK_", "COMPLETE", "T", "TA", "TASK_COMPLETE", "x", "_"]), max_size=12), st.data())
def test_a_word_goes_however_the_text_is_split(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=8).map(sorted))
    unsaid = Unsaid(KEYWORD)
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert "".join([*map(unsaid.feed, pieces), unsaid.end()]) == text.replace(KEYWORD, "")


def test_what_an_agent_says_of_its_loop() -> None:
    assert loop_of({}) is None
    assert loop_of({"loop": {"enabled": False, "max_steps": 3}}) is None
    assert loop_of({"loop": {"enabled": True, "max_duration": "2h", "max_steps": 3}}) == Loop(
        max_steps=3, max_duration=7200.0
    )
    for wrong in ({"max_steps": 0}, {"max_duration": "soon"}, {"keyword": "x"}, {"checkpoint_interval": 2}):
        with pytest.raises(msgspec.ValidationError):
            loop_of({"loop": {"enabled": True, **wrong}})
