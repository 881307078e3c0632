"""Long conversations made to fit. Contract: agent-loop.md §8.4; AL-20."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from goclaw.agent.history import repair
from goclaw.agent.pruning import prune
from goclaw.domain.chat import ChatMessage, ToolCall
from goclaw.settings.pruning import HardClear, Pruning

WINDOW = 10_000


def turn(number: int, chars: int, tool: str = "exec", text: str = "x") -> list[ChatMessage]:
    call = ToolCall(id=f"c{number}", name=tool)
    return [
        ChatMessage(role="user", content=f"do {number}"),
        ChatMessage(role="assistant", tool_calls=(call,)),
        ChatMessage(role="tool", content=(text * chars)[:chars], tool_call_id=call.id, tool_name=tool),
        ChatMessage(role="assistant", content="done"),
    ]


def talk(*sizes: int) -> list[ChatMessage]:
    return [message for number, size in enumerate(sizes) for message in turn(number, size)]


def sizes(messages: Sequence[ChatMessage]) -> list[int]:
    return [len(message.content) for message in messages if message.role == "tool"]


def test_a_short_conversation_stays_as_it_is() -> None:
    said = talk(7000, 10, 10, 10)
    assert prune(said, 0, WINDOW, Pruning()) == said


def test_no_result_takes_more_than_its_share_whatever_is_said() -> None:
    said = talk(36_000)
    (cut,) = [m.content for m in prune(said, 0, WINDOW, Pruning(mode="off")) if m.role == "tool"]
    assert cut.startswith("x" * 8400 + "\n...\n" + "x" * 3600 + "\n[Tool result trimmed: kept first 8400 chars and")
    assert sizes(said) == [36_000]  # what is stored stays whole


def test_old_results_keep_their_ends_and_new_ones_all() -> None:
    pruned = prune(talk(8000, 8000, 10, 8000), 0, WINDOW, Pruning())
    assert [size < 6200 for size in sizes(pruned)] == [True, True, True, False]


def test_an_end_that_matters_gets_more() -> None:
    said = turn(0, 8000, text="y") + talk(10, 10, 4000)
    said[2] = ChatMessage(role="tool", content="y" * 7990 + "\nERROR: x", tool_call_id="c0", tool_name="exec")
    (first, *_) = [m.content for m in prune(said, 0, WINDOW, Pruning()) if m.role == "tool"]
    assert first.startswith("y" * 1800 + "\n...\n" + "y" * 1000)
    assert "kept first 1800 chars and last 4200 chars of 7999 chars." in first


def test_what_media_said_keeps_more_and_is_never_cleared() -> None:
    said = turn(0, 20_000, "read_image") + talk(*[5900] * 20)
    pruned = prune(said, 0, WINDOW, Pruning())
    assert sizes(pruned)[0] == 8000 + len("\n...\n") + len(pruned[2].content.rpartition("\n")[2]) + 1
    assert pruned[6].content == HardClear().placeholder


def test_clearing_begins_with_the_oldest_and_ends_when_it_fits() -> None:
    pruned = prune(talk(*[5900] * 12), 0, WINDOW, Pruning())
    cleared = [size < 100 for size in sizes(pruned)]
    assert cleared == sorted(cleared, reverse=True)
    assert cleared[0]
    assert not cleared[-1]


def test_few_characters_are_not_worth_clearing() -> None:
    assert min(sizes(prune(talk(*[5900] * 8), 6000, WINDOW, Pruning()))) == 5900


def test_what_comes_before_the_first_user_is_left_alone() -> None:
    said = turn(0, 8000)[1:] + talk(10, 10, 10)
    assert sizes(prune(said, 3000, WINDOW, Pruning()))[0] == 8000


amounts = st.lists(st.sampled_from([10, 3000, 5900, 6100, 9000, 40_000]), min_size=1, max_size=14)


@settings(max_examples=60)
@given(amounts, amounts, st.sampled_from([0, 2000, 6000]))
def test_a_longer_conversation_cuts_no_less(early: list[int], late: list[int], overhead: int) -> None:
    before = prune(talk(*early), overhead, WINDOW, Pruning())
    after = prune(talk(*early, *late), overhead, WINDOW, Pruning())
    assert all(now <= then for then, now in zip(sizes(before), sizes(after), strict=False))
    assert repair(after) == after
    assert [m.tool_call_id for m in after] == [m.tool_call_id for m in talk(*early, *late)]
