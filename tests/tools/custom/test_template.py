"""Where values may stand in a command, and what they become there. Contract: tools.md §14.2."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goclaw.tools.custom.template import BadTemplate, read_template
from goclaw.tools.tool import ToolFailed
from tests.security.corpus import cases

SHAPES: dict[str, dict[str, Any]] = {
    "path": {"type": "string"},
    "x": {"type": "string"},
    "n": {"type": "integer"},
    "cmd": {"type": "string"},
    "list": {"type": "array"},
    "free": {},
    "dash": {"type": "string", "x-allow-dash": True},
    "y": {"type": "string"},
    **{f"p{n}": {"type": "string"} for n in range(17)},
}


def filled(command: str, **values: Any) -> str:
    template = read_template(command)
    template.checked(SHAPES)
    return template.filled(values, SHAPES)


def place_cases() -> tuple[list[Any], list[Any]]:
    good, bad = [], []
    for case in cases("template_places", lambda row: not row["fine"]):
        (good if case.values[0]["fine"] else bad).append(case)
    return good, bad


FINE, BAD = place_cases()


@pytest.mark.parametrize("case", cases("template_values", lambda row: False))
def test_a_value_is_one_quoted_word(case: Any) -> None:
    assert filled(case["command"], **case["values"]) == case["run"]


@pytest.mark.parametrize("case", FINE)
def test_where_a_quoted_word_is_a_word_a_value_may_stand(case: Any) -> None:
    read_template(case["command"]).checked(SHAPES)


@pytest.mark.parametrize("case", BAD)
def test_a_place_that_would_not_stay_one_word_is_refused(case: Any) -> None:
    with pytest.raises(BadTemplate):
        read_template(case["command"]).checked(SHAPES)


def test_who_quotes_is_told_not_to() -> None:
    with pytest.raises(BadTemplate, match=r"remove the quotes around {{\.x}}; values are quoted for you"):
        read_template('echo "{{.x}}"').checked(SHAPES)


def test_who_hands_a_value_to_an_interpreter_is_told_not_to() -> None:
    with pytest.raises(BadTemplate, match=r"{{\.x}} would be read as code there"):
        read_template("watch ls {{.x}}").checked(SHAPES)


@pytest.mark.parametrize("case", cases("template_refused", lambda row: True))
def test_a_value_that_no_command_should_see_is_refused(case: Any) -> None:
    with pytest.raises(ToolFailed, match=case["says"]) as refused:
        filled("ls {{.x}}", **case["values"])
    assert refused.value.code == "invalid_args"


def test_t14_the_contracts_own_vectors() -> None:
    """T14, §14.2. That no value of `env` is told, logged or kept in the open: `tests/e2e/test_gateway_tools.py`."""
    assert filled("df -h {{.path}}", path="/a b'c") == """df -h '/a b'"'"'c'"""
    assert filled("df -h {{.path}}", path="x; id") == "df -h 'x; id'"
    assert filled("df -h {{.path}}", path="{{.path}}") == "df -h '{{.path}}'"
    assert filled("tail -n {{.n}} f", n=5) == "tail -n '5' f"
    with pytest.raises(ToolFailed) as refused:
        filled("df -h {{.path}}", path="-h")
    assert refused.value.code == "invalid_args"
    for command in ('echo "{{.x}}"', "{{.cmd}} x"):
        with pytest.raises(BadTemplate):
            read_template(command).checked(SHAPES)


TELL = (
    "printf '%s\\0' {{.x}}",
    "printf '%s\\0' a{{.x}}b",
    "for i in {{.x}}; do printf '%s\\0' \"$i\"; done",
    "X={{.x}}; printf '%s\\0' \"$X\"",
    "f() { printf '%s\\0' \"$1\"; }; f {{.x}}",
    "case {{.x}} in *) printf '%s\\0' {{.x}};; esac",
    "{ printf '%s\\0' {{.x}}; } | cat",
)
TEXT = st.text(
    st.sampled_from("'\"\\`$(){}[]<>|&;*?~#! \t\n=%:,-ab\u00e9\u200b\u2028")
    | st.characters(exclude_categories=("Cs", "Cc")),
    max_size=30,
)


def test_what_tells_of_values_may_be_stored() -> None:
    for command in TELL:
        read_template(command).checked(SHAPES)


@pytest.mark.parametrize("shell", ["sh", "bash"])
@given(values=st.lists(TEXT.filter(lambda text: not text.startswith("-")), min_size=20, max_size=20))
@settings(max_examples=8, deadline=None)
def test_a_value_never_becomes_code(shell: str, values: list[str]) -> None:
    """What a real shell hands to a program is the value, byte for byte, whatever is in it."""
    templates = [read_template(command) for command in TELL]
    lines = [template.filled({"x": value}, SHAPES) for value in values for template in templates]
    heard = subprocess.run([shell, "-c", "\n".join(lines)], capture_output=True, timeout=20, check=True).stdout
    wrapped = [f"a{value}b" if place == 1 else value for value in values for place in range(len(TELL))]
    assert heard.split(b"\0")[:-1] == [value.encode() for value in wrapped]
