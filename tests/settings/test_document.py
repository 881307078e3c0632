"""Texts become values with lines, or say at which line they stop being JSON5."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goclaw.settings.document import DEEPEST, Malformed, parse

EVERYTHING = """\ufeff// a comment with { and "
{
  plain: 1, 'single': [1, {inside: 2},
    {inside: 3}], /* two
  lines, : */ "quo\\"ted": {
    $: null, \\u0061b: "} , x: {" // , y: 1
  },
}
"""


def test_every_key_has_its_line() -> None:
    lines = parse(EVERYTHING).lines

    assert lines == {
        ("plain",): 3,
        ("single",): 3,
        ("single", 1, "inside"): 3,
        ("single", 2, "inside"): 4,
        ('quo"ted',): 5,
        ('quo"ted', "$"): 6,
        ('quo"ted', "ab"): 6,
    }


def test_a_repeated_key_is_told_with_both_lines_and_without_what_is_inside_it() -> None:
    assert parse("{a: {b: 1},\n'a': {b: 1}}").repeated == [(("a",), 1, 2)]
    assert parse("[{a: 1}, {a: 1}]").repeated == []


@pytest.mark.parametrize(
    ("text", "line"),
    [("", 1), ("{\n a: }", 2), ("\n{} {}", 2), ("{a: 'x\n'}", 1), ("{a: 01}", 1), ("{\n/* ", 2), ("nul", 1)],
)
def test_what_is_no_json5_names_a_line(text: str, line: int) -> None:
    with pytest.raises(Malformed) as caught:
        parse(text)

    assert caught.value.line == line


def test_nesting_ends_at_32_levels() -> None:
    assert parse("[" * DEEPEST + "]" * DEEPEST)
    with pytest.raises(Malformed, match="32 levels"):
        parse("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1))


KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
TREES = st.recursive(st.integers() | st.text(max_size=5), lambda inner: st.dictionaries(KEYS, inner, max_size=4))


@given(TREES)
def test_every_key_of_every_tree_is_found_where_it_was_written(tree: object) -> None:
    text, expected = _written(tree)

    assert parse(text).lines == expected


def _written(tree: object) -> tuple[str, dict[tuple[str, ...], int]]:
    """The tree as JSON with one key per line, and the line of each."""
    import json

    out: list[str] = []
    lines: dict[tuple[str, ...], int] = {}

    def write(value: object, place: tuple[str, ...]) -> None:
        if not isinstance(value, dict):
            out.append(json.dumps(value))
            return
        out.append("{")
        for key, inner in value.items():
            out.append("\n" + json.dumps(key) + ":")
            lines[(*place, key)] = "".join(out).count("\n") + 1
            write(inner, (*place, key))
            out.append(",")
        out.append("}")

    write(tree, ())
    return "".join(out), lines
