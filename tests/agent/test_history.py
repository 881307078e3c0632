"""Whatever was stored, a model gets a list it accepts. Contract: agent-loop.md §8.2."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goclaw.agent.history import MISSING, Remembered, chat_messages, faults, fit, repair
from goclaw.domain.chat import ChatMessage, ToolCall
from goclaw.domain.tokens import estimate_prompt


def said(text: str = "", *ids: str) -> ChatMessage:
    return ChatMessage(role="assistant", content=text, tool_calls=tuple(ToolCall(id=id, name="look") for id in ids))


def user(text: str = "hi") -> ChatMessage:
    return ChatMessage(role="user", content=text)


def result(id: str, text: str = "seen") -> ChatMessage:
    return ChatMessage(role="tool", content=text, tool_call_id=id, tool_name="look")


def missing(id: str) -> ChatMessage:
    return ChatMessage(role="tool", content=MISSING, tool_call_id=id, tool_name="look", is_error=True)


@pytest.mark.parametrize(
    ("messages", "repaired"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([user(), said("a")], [user(), said("a")], id="nothing-wrong"),
        pytest.param([user(), user()], [user(), user()], id="two-users-in-a-row-are-kept"),
        pytest.param([result("1"), user()], [user()], id="a-result-without-its-call"),
        pytest.param([said("", "1"), result("2")], [said("", "1"), missing("1")], id="a-result-of-another-call"),
        pytest.param([said("", "1"), user()], [said("", "1"), missing("1"), user()], id="a-call-without-result"),
        pytest.param([said("", "1")], [said("", "1"), missing("1")], id="a-call-at-the-end"),
        pytest.param(
            [said("", "1"), result("1"), result("1", "again")], [said("", "1"), result("1")], id="a-second-result"
        ),
        pytest.param(
            [said("", "1"), user(), result("1")], [said("", "1"), missing("1"), user()], id="a-result-that-came-late"
        ),
        pytest.param([user(), said(), said("a")], [user(), said("a")], id="an-empty-answer"),
        pytest.param(
            [said("", "1", "2"), result("2", "b"), result("1", "a")],
            [said("", "1", "2"), result("2", "b"), result("1", "a")],
            id="results-in-another-order",
        ),
        pytest.param(
            [said("", "1"), result("1"), said("", "1"), result("1", "new")],
            [said("", "1"), result("1"), said("", "1_dedup_1"), result("1_dedup_1", "new")],
            id="an-id-used-again-later",
        ),
        pytest.param(
            [said("", "1", "1"), result("1", "a"), result("1", "b")],
            [said("", "1", "1_dedup_1"), result("1", "a"), result("1_dedup_1", "b")],
            id="an-id-used-twice-at-once",
        ),
        pytest.param([said("", ""), result("")], [said("", "_dedup_1"), result("_dedup_1")], id="an-empty-id"),
    ],
)
def test_faults_are_repaired(messages: list[ChatMessage], repaired: list[ChatMessage]) -> None:
    """AL-21. Among them a tool message without a parent, which is dropped."""
    assert repair(messages) == repaired


def row(message: ChatMessage, **more: object) -> Remembered:
    """As it is stored."""
    payload = {"tool_calls": msgspec.to_builtins(message.tool_calls), "tool_call_id": message.tool_call_id, **more}
    return Remembered(role=message.role, content=message.content, payload=payload)


def test_what_no_model_will_see_is_named_with_its_fault() -> None:
    rows = [
        *map(row, [result("0"), user(), said("", "1"), result("1"), result("1", "again"), result("9"), said()]),
        row(said(), media=[{"name": "a.png"}]),
        *map(row, [user(), said("", "2")]),
    ]

    assert faults(rows) == {0: "orphan_result", 4: "second_result", 5: "orphan_result", 6: "empty_answer"}


ids = st.sampled_from(["", "1", "2", "3", "1_dedup_1"])
calls = st.lists(ids, max_size=3)
texts = st.sampled_from(["", "a", "word " * 30, "名" * 40])
messages = st.lists(
    st.builds(user, texts)
    | st.builds(lambda text, ids: said(text, *ids), texts, calls)
    | st.builds(result, ids, texts),
    max_size=15,
)


def assert_valid(messages: list[ChatMessage]) -> None:
    """What vendors insist on: results right behind their calls, one for each; no id twice; nothing empty."""
    seen: Counter[str] = Counter(call.id for message in messages for call in message.tool_calls)
    assert "" not in seen
    assert set(seen.values()) <= {1}
    waiting: set[str] = set()
    for message in messages:
        if message.role == "tool":
            assert message.tool_call_id in waiting
            waiting.remove(message.tool_call_id)
            continue
        assert not waiting
        assert message.role == "user" or message.content or message.tool_calls
        waiting = {call.id for call in message.tool_calls}
    assert not waiting


@given(messages)
def test_any_list_becomes_a_valid_one_and_stays_as_it_is(messages: list[ChatMessage]) -> None:
    """AL-21. Whatever was imported, the provider call is valid."""
    repaired = repair(messages)

    assert_valid(repaired)
    assert repair(repaired) == repaired
    assert [m.content for m in repaired if m.role == "user"] == [m.content for m in messages if m.role == "user"]
    assert sum(len(m.tool_calls) for m in repaired) == sum(len(m.tool_calls) for m in messages)


@given(messages, st.integers(0, 300))
def test_a_cut_keeps_the_newest_that_fits_and_never_parts_a_call_from_its_result(
    messages: list[ChatMessage], budget: int
) -> None:
    whole = repair(messages)

    kept = fit(whole, budget)

    assert_valid(kept)
    assert kept == whole[len(whole) - len(kept) :]
    assert bool(kept) == bool(whole)
    groups = sum(message.role != "tool" for message in kept)
    assert estimate_prompt(kept) <= budget or groups == 1
    if len(kept) < len(whole):
        cut = len(whole) - len(kept)
        before = next(place for place in range(cut - 1, -1, -1) if whole[place].role != "tool")
        assert estimate_prompt(whole[before:]) > budget  # one more would have been too much


wanted = st.fixed_dictionaries({"id": ids, "name": st.sampled_from(["look", ""])}) | st.sampled_from(
    [None, {}, {"id": 1}, "look", {"id": "1", "name": "look", "arguments": "{"}]
)
payloads = st.fixed_dictionaries(
    {},
    optional={
        "tool_calls": st.lists(wanted, max_size=3) | st.sampled_from([None, "none", {}]),
        "tool_call_id": ids | st.none(),
        "name": st.sampled_from(["look", None]),
        "is_error": st.sampled_from([True, None, "yes"]),
        "raw": st.sampled_from([None, "x", {"family": "f", "blocks": [{"type": "compaction"}]}, {"family": 1}]),
    },
)
roles = st.sampled_from(["user", "assistant", "tool", "system", "developer", "function", ""])
imported = st.lists(
    st.builds(lambda r, c, p: Remembered(role=r, content=c, payload=p), roles, texts, payloads), max_size=15
)


@given(imported)
def test_whatever_was_imported_a_model_gets_a_list_it_accepts(rows: list[Remembered]) -> None:
    """AL-21. Roles nobody knows, calls that are none, equal ids, results in any order: the call is valid."""
    given = chat_messages(rows, 1_000_000)

    assert_valid(given)
    assert {message.role for message in given} <= {"user", "assistant", "tool"}
    spoken = [row.content for row in rows if row.role not in ("assistant", "tool", "system")]
    assert [m.content for m in given if m.role == "user" and not m.content.startswith("[System] ")] == spoken


def test_rows_become_what_was_said() -> None:
    wanted = ToolCall(id="1", name="look", arguments={"at": "sky"})
    answered = {"tool_call_id": "1", "name": "look", "is_error": True}
    rows = [
        Remembered(role="user", content="hi", payload={"sender": {"id": "u"}}),
        Remembered(role="assistant", content="", payload={"tool_calls": msgspec.to_builtins((wanted,))}),
        Remembered(role="tool", content="Error: dark", payload=answered),
        Remembered(role="assistant", content="It is dark.", payload={"model": "m", "cancelled": True}),
        Remembered(role="system", content="a label", payload={}),
    ]
    assert chat_messages(rows, 10_000) == [
        user("hi"),
        ChatMessage(role="assistant", tool_calls=(wanted,)),
        ChatMessage(role="tool", content="Error: dark", tool_call_id="1", tool_name="look", is_error=True),
        said("It is dark."),
        user("[System] a label"),
    ]


def test_history_takes_a_share_of_the_window() -> None:
    rows = [Remembered(role="user", content="word " * 100, payload={}) for _ in range(100)]
    assert 1 < len(chat_messages(rows, 2048)) < 12
    assert len(chat_messages(rows, 1)) == 1
