"""Circles are told, then stopped. Contract: agent-loop.md §10.6; AL-05."""

from __future__ import annotations

from typing import Any

from goclaw.agent.repeats import Repeats, Verdict
from goclaw.domain.chat import ChatMessage, ToolCall


def verdicts(calls: list[tuple[str, dict[str, Any], str, bool]]) -> list[Verdict | None]:
    watch = Repeats()
    found = [watch.saw(tool, arguments, result, reads=reads) for tool, arguments, result, reads in calls]
    return [verdict and verdict[0] for verdict in found]


def test_the_same_call_is_told_at_three_and_stopped_at_five() -> None:
    assert verdicts([("search", {"a": 1, "b": 2}, "none", False)] * 5) == [None, None, "warn", None, "stop"]


def test_the_order_of_arguments_makes_no_other_call() -> None:
    calls = [("search", dict(pair), "none", False) for pair in ([("a", 1), ("b", 2)], [("b", 2), ("a", 1)])]
    assert verdicts([calls[0], calls[1], calls[0]])[-1] == "warn"


def test_another_result_is_another_call() -> None:
    assert verdicts([("status", {}, f"{n} left", False) for n in range(9)]) == [None] * 9


def test_other_arguments_with_the_same_result() -> None:
    found = verdicts([("search", {"q": n}, "none", False) for n in range(6)])
    assert found == [None, None, None, "warn", None, "stop"]


def test_thirty_looks_in_a_row() -> None:
    found = verdicts([("read_file", {"path": n}, str(n), True) for n in range(30)])
    assert (found[19], found[29]) == ("warn", "stop")
    assert [verdict for verdict in found if verdict] == ["warn", "stop"]


def test_a_change_begins_the_looks_anew() -> None:
    looks = [("read_file", {"path": n}, str(n), True) for n in range(60)]
    changes = [("write_file", {"path": n}, str(n), False) for n in range(3)]
    found = verdicts(looks[:25] + changes[:1] + looks[25:44] + changes[1:2] + looks[44:])
    assert [verdict for verdict in found if verdict] == ["warn"]


def test_commands_neither_count_nor_begin_anew() -> None:
    run = ("exec", {"command": "make"}, "ok", False)
    assert verdicts([run] * 10) == [None] * 10
    looks = [("read_file", {"path": n}, str(n), True) for n in range(20)]
    assert verdicts([one for look in looks for one in (look, run)])[38] == "warn"


def test_calls_older_than_thirty_are_forgotten() -> None:
    same = ("search", {}, "none", False)
    others = [("status", {"n": n}, str(n), False) for n in range(30)]
    assert verdicts([same, same, *others, same])[-1] is None


def test_a_run_that_died_goes_on_counting() -> None:
    calls = [ToolCall(id=f"c{n}", name="search", arguments={"q": 1}) for n in range(4)]
    past = [
        message
        for call in calls
        for message in (
            ChatMessage(role="assistant", tool_calls=(call,)),
            ChatMessage(role="tool", content="none", tool_call_id=call.id, tool_name="search"),
        )
    ]
    watch = Repeats()
    watch.recall(past, lambda call: False)
    verdict = watch.saw("search", {"q": 1}, "none", reads=False)
    assert verdict is not None
    assert verdict[0] == "stop"
