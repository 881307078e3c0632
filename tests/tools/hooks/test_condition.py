"""The expressions hooks are asked by. Contract: tools.md §22."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goclaw.tools.hooks.condition import DEEPEST, LONGEST, Unfit, condition

FACTS = {
    "tool_name": "exec",
    "tool_input": {"command": "sudo ls", "list": [1, {"a": 2}], "on": True, "one": 1},
    "depth": 1,
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ('tool_name == "exec"', True),
        ("tool_name != 'exec'", False),
        ('"sudo" in tool_input.command', True),
        ('tool_name in ["write_file", "exec"]', True),
        ('tool_name in ["write_file"]', False),
        ('"command" in tool_input', True),
        ("size(tool_input.command) == 7", True),
        ("size(tool_input.nothing) == 0", True),
        ("depth >= 1 && depth < 2", True),
        ("depth > 1 || tool_input.on", True),
        ("!tool_input.on", False),
        ("!(depth == 1) || false", False),
        ("tool_input.list[1].a == 2", True),
        ('tool_input["command"] == null', False),
        ("tool_input.no.body.there == null", True),
        ("tool_input.list[7] == null", True),
        ("tool_input.on == 1", False),
        ("tool_input.one == 1.0", True),
        ("true && (false || true)", True),
        ('"a\\"b" == "a\\"b"', True),
        ("-1 < 0", True),
        ("false && depth", False),
    ],
)
def test_what_a_condition_says(text: str, holds: bool) -> None:
    assert condition(text)(FACTS) is holds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tool_name ==",
        "tool_name = 'x'",
        "1 == 1 == 1",
        "(true",
        "[1, 2",
        "size(1",
        "run('ls')",
        "tool_name.upper()",
        "__import__('os')",
        "user == 'x'",
        "true; true",
        "'open",
        '"\\x"',
        "tool_input.",
        "tool_input.1",
        "!" * (DEEPEST + 1) + "true",
        "(" * (DEEPEST + 1) + "true" + ")" * (DEEPEST + 1),
        "true" + " " * LONGEST + "&& true",
    ],
)
def test_what_is_no_condition_is_refused_before_anybody_asks(text: str) -> None:
    with pytest.raises(Unfit):
        condition(text)


@pytest.mark.parametrize(
    "text", ["tool_name", "depth", "tool_input < 1", "tool_name > 1", "1 in depth", "size(depth) > 0"]
)
def test_what_cannot_be_answered_is_no_answer(text: str) -> None:
    with pytest.raises(Unfit):
        condition(text)(FACTS)


@given(st.text(alphabet="()[]!&|=<>.,'\"ad01 tool_name_inputdepthsizein", max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        holds = condition(text)(FACTS)
    except Unfit:
        return
    assert isinstance(holds, bool)
