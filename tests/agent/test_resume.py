"""A run that died goes on where it was: no finished step again, no effect twice. Contract: durability.md §7.2, §8."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from goclaw.agent.history import repair
from goclaw.domain.chat import ChatMessage, ChatResponse, Usage
from goclaw.tools.ledger import Begun, LedgerConflict, Place
from goclaw.tools.tool import Effect, Settled, Tool, ToolContext, tool
from tests.agent.notebook import Notebook
from tests.agent.test_loop import Ask, Ear, Scripted, says, talk, task, wants

OLD = tuple(ChatMessage(role=role, content=f"{role} {n}") for n in range(6) for role in ("user", "assistant"))  # type: ignore[arg-type]


class Died(BaseException):
    """The process ended here. Nothing handles it."""


class Deeds(Struct):
    """What tools really did, and under which keys: it survives the death of who asked for it."""

    done: list[str]
    keys: list[str]
    die_in: str = ""  # the call that takes the process with it, after its deed


def tools_of(deeds: Deeds) -> dict[str, Tool]:
    async def settle(ctx: ToolContext, ask: Ask, before: str) -> Settled:
        return Settled(done=ask.text in deeds.done, text=f"{ask.text} was done")

    def one(effect: Effect) -> Tool:
        @tool(
            group="test",
            effect=effect,
            name=effect.value,
            settle=settle if effect in (Effect.LOCAL, Effect.CHECKABLE) else None,
        )
        async def fn(ctx: ToolContext, ask: Ask) -> str:
            """Do it."""
            if effect is not Effect.KEYED or ctx.key not in deeds.keys:
                deeds.done.append(ask.text)
            deeds.keys.append(ctx.key)
            if deeds.die_in == ask.text:
                deeds.die_in = ""
                raise Died
            return f"{ask.text} done"

        return fn.__tool__  # type: ignore[attr-defined,no-any-return]

    return {effect.value: one(effect) for effect in Effect}


async def live(
    notebook: Notebook, deeds: Deeds, *steps: ChatResponse, tools: dict[str, Tool] | None = None
) -> tuple[Any, Ear]:
    """One life of the run on what the notebook holds. Returns its draft, None if it died."""
    draft, ear, died = notebook.draft(), Ear(), False
    try:
        await talk(task(), Scripted(*steps), tools or tools_of(deeds), ear, draft, notebook)
    except* Died:
        died = True
    return None if died else draft, ear


@pytest.mark.parametrize(
    ("effect", "times", "result"),
    [
        (Effect.PURE, 2, "x done"),
        (Effect.KEYED, 1, "x done"),
        (Effect.LOCAL, 1, "x was done"),
        (Effect.CHECKABLE, 1, "x was done"),
        (Effect.UNSAFE, 1, "Outcome unknown"),
    ],
)
async def test_a_call_that_killed_the_process_is_repeated_only_where_that_is_safe(
    effect: Effect, times: int, result: str
) -> None:
    notebook, deeds = Notebook(), Deeds([], [], die_in="x")

    died, _ = await live(notebook, deeds, wants(("c", effect.value, "x")))
    draft, ear = await live(notebook, deeds, says("all is well"))

    assert died is None
    assert deeds.done.count("x") == times
    assert ear.of("result")[0][2].startswith(result)
    assert draft.text == "alliswell"
    assert draft.iterations == 2
    assert notebook.begun.keys() == (set() if effect is Effect.PURE else {Place(0, 0)}), "pure calls have no entry"


async def test_a_deed_that_was_not_done_yet_is_done_where_one_can_look() -> None:
    notebook, deeds = Notebook(), Deeds([], [], die_in="x")
    await live(notebook, deeds, wants(("c", "local", "x")))
    deeds.done.clear()  # it died before it changed anything after all

    await live(notebook, deeds, says("well"))

    assert deeds.done == ["x"]


async def test_a_tool_that_cannot_say_what_became_of_a_call_is_not_called_again() -> None:
    async def settle(ctx: ToolContext, ask: Ask, before: str) -> Settled:
        raise RuntimeError("the target is away")

    @tool(group="test", effect=Effect.CHECKABLE, name="pay", settle=settle)
    async def pay(ctx: ToolContext, ask: Ask) -> str:
        """Pay."""
        raise Died

    notebook, deeds = Notebook(), Deeds([], [])
    tools = {"pay": pay.__tool__}  # type: ignore[attr-defined]
    await live(notebook, deeds, wants(("c", "pay", "x")), tools=tools)
    _, ear = await live(notebook, deeds, says("well"), tools=tools)

    assert ear.of("result")[0][2].startswith("Outcome unknown")


async def test_only_what_is_open_is_done_after_a_death_between_two_calls() -> None:
    notebook, deeds = Notebook(), Deeds([], [], die_in="two")
    await live(notebook, deeds, wants(("a", "unsafe", "one"), ("b", "unsafe", "two"), ("c", "unsafe", "three")))
    draft, ear = await live(notebook, deeds, says("well"))

    assert deeds.done == ["one", "two", "three"]
    assert [event[1] for event in ear.of("result")] == ["b", "c"], "the first was told in the life before"
    assert [m.tool_call_id for m in draft.messages if m.role == "tool"] == ["a", "b", "c"]
    assert draft.tool_calls == 3
    assert repair(draft.messages) == draft.messages


async def test_another_call_in_the_place_of_one_that_was_begun_is_refused() -> None:
    notebook, deeds = Notebook(), Deeds([], [], die_in="x")
    await live(notebook, deeds, wants(("c", "unsafe", "x")))
    notebook.begun[Place(0, 0)] = Begun(place=Place(0, 0), tool="unsafe", effect="unsafe", request_hash="0" * 64)

    with pytest.raises(LedgerConflict):
        await live(notebook, deeds, says("well"))


async def test_budgets_go_on_where_they_were() -> None:
    notebook, deeds = Notebook(), Deeds([], [], die_in="two")
    await live(notebook, deeds, wants(("a", "pure", "one")), wants(("b", "pure", "two")))
    draft, _ = await live(notebook, deeds, says("well"))

    assert (draft.iterations, draft.tool_calls) == (3, 2)
    assert draft.usage.prompt_tokens == 30, "what the first life spent is not forgotten"


async def test_how_full_the_window_was_is_known_to_the_next_life() -> None:
    """§8.5: what the vendor counted last, not what we would guess."""
    notebook, deeds = Notebook(), Deeds([], [], die_in="one")
    step = msgspec.structs.replace(wants(("a", "pure", "one")), usage=Usage(prompt_tokens=760, completion_tokens=1))
    await live(notebook, deeds, step)
    draft, model = notebook.draft(), Scripted(says("Ducks"), says("Fine"))
    assert draft.full == 761

    await talk(task(history=OLD, window=1000), model, tools_of(deeds), Ear(), draft, notebook)

    assert model.asked[0].metadata.get("run_kind") == "summary"
    assert draft.text == "Fine"


async def test_what_somebody_says_meanwhile_is_heard_after_the_calls_and_before_the_end() -> None:
    """AL-39. Said during a tool call, answered within the same run."""
    notebook, deeds = Notebook(), Deeds([], [])

    class Talkative(Scripted):
        def stream(self, ask: Any, **how: object) -> Any:
            if len(self.asked) < 2:
                notebook.news.append(f"and {len(self.asked)}")
            return super().stream(ask)

    draft = notebook.draft()
    model = Talkative(wants(("a", "pure", "one")), says("so far"), says("the end"))
    await talk(task(), model, tools_of(deeds), Ear(), draft, notebook)

    assert [(m.role, m.content) for m in draft.messages if m.role != "tool"] == [
        ("assistant", ""),
        ("user", "and 0"),
        ("assistant", "sofar"),
        ("user", "and 1"),
        ("assistant", "theend"),
    ]
    assert sorted(notebook.steps) == list(range(5)), "all but the last answer are steps"


KINDS = st.sampled_from([effect.value for effect in Effect])


@given(
    turns=st.lists(st.lists(KINDS, min_size=1, max_size=3), min_size=1, max_size=3),
    deaths=st.lists(st.integers(0, 8), max_size=3),
)
async def test_wherever_it_dies_each_deed_is_done_once_or_reported(turns: list[list[str]], deaths: list[int]) -> None:
    """Deaths inside calls: pure ones may run twice, unsafe ones at most once, and every call has one result."""
    names = [f"{t}.{c}" for t, calls in enumerate(turns) for c in range(len(calls))]
    kind_of = {f"{t}.{c}": kind for t, calls in enumerate(turns) for c, kind in enumerate(calls)}
    script = [
        wants(*((f"id{t}.{c}", kind, f"{t}.{c}") for c, kind in enumerate(calls))) for t, calls in enumerate(turns)
    ]
    notebook, deeds = Notebook(), Deeds([], [])
    draft = None
    for death in [*deaths, None]:
        deeds.die_in = names[death % len(names)] if death is not None and draft is None else ""
        thought = sum(message.role == "assistant" for message in notebook.steps.values())
        draft, _ = await live(notebook, deeds, *script[thought:], says("well"))
        if draft is not None:
            break
        deeds.die_in = ""

    assert draft is not None
    assert repair(draft.messages) == draft.messages
    assert [m.tool_call_id for m in draft.messages if m.role == "tool"] == [f"id{name}" for name in names]
    for name, kind in kind_of.items():
        assert deeds.done.count(name) >= 1
        assert kind == "pure" or deeds.done.count(name) == 1
