"""Where values may stand in a command, and what they become there. Contract: tools.md §14.2."""

from __future__ import annotations

from typing import Any

import pytest

from goclaw.tools.custom.template import BadTemplate, read_template
from goclaw.tools.tool import ToolFailed

SHAPES: dict[str, dict[str, Any]] = {
    "path": {"type": "string"},
    "x": {"type": "string"},
    "n": {"type": "integer"},
    "cmd": {"type": "string"},
    "list": {"type": "array"},
    "free": {},
    "dash": {"type": "string", "x-allow-dash": True},
}


def filled(command: str, **values: Any) -> str:
    template = read_template(command)
    template.checked(SHAPES)
    return template.filled(values, SHAPES)


@pytest.mark.parametrize(
    ("command", "values", "run"),
    [
        ("df -h {{.path}}", {"path": "/a b'c"}, "df -h '/a b'\"'\"'c'"),
        ("df -h {{.path}}", {"path": "x; id"}, "df -h 'x; id'"),
        ("tail -n {{.n}} f", {"n": 5}, "tail -n '5' f"),
        ("echo {{.x}}", {"x": "{{.path}}", "path": "no"}, "echo '{{.path}}'"),
        ("echo {{x}}", {"x": "a"}, "echo 'a'"),
        ("echo {{.x}}", {}, "echo ''"),
        ("echo {{.x}}", {"x": None}, "echo ''"),
        ("ls {{.list}}", {"list": ["a b", 2, True]}, "ls 'a b' '2' 'true'"),
        ("ls {{.list}} x", {"list": []}, "ls  x"),
        ("echo {{.free}}", {"free": {"a": 1.5}}, "echo '{\"a\":1.5}'"),
        ("echo {{.x}}", {"x": "a\tb\nc"}, "echo 'a\tb\nc'"),
        ('echo {{"{{"}} {{.x}}', {"x": "a"}, "echo {{ 'a'"),
        ("grep {{.dash}} f", {"dash": "-v"}, "grep '-v' f"),
        ("X={{.x}} ls --a={{.n}} > {{.path}}", {"x": "1", "n": 2, "path": "o"}, "X='1' ls --a='2' > 'o'"),
    ],
)
def test_a_value_is_one_quoted_word(command: str, values: dict[str, Any], run: str) -> None:
    assert filled(command, **values) == run


@pytest.mark.parametrize(
    "command",
    [
        'echo "{{.x}}"',
        "echo '{{.x}}'",
        "echo `ls {{.x}}`",
        "echo $(ls {{.x}})",
        "echo ${HOME:-{{.x}}}",
        "echo $(( {{.n}} ))",
        "cat <<E\n{{.x}}\nE",
        "cat <<{{.x}}\na\nE",
        "ls # {{.x}}",
        "ls \\{{.x}}",
        "ls ${{.x}}",
        "{{.cmd}} x",
        "ls; {{.x}}",
        "ls | {{.x}}",
        "! {{.x}}",
        "my{{.x}} a",
        "{{.x}}=1 ls",
        "X={{.list}} ls",
        "X={{.free}} ls",
        "env {{.x}} ls",
        "timeout {{.list}} ls",
        "sudo {{.x}}",
        "xargs {{.x}}",
        "sh -c {{.x}}",
        "eval {{.x}}",
        "$CMD {{.x}}",
        "[[ {{.x}} -eq 1 ]]",
        "echo <(cat {{.x}})",
        "ls {{.nothing}}",
        "ls {{ .x }}",
        "ls {{.x}",
        "ls '{{.x}}",
        *(["ls " + " ".join(f"{{{{.p{n}}}}}" for n in range(17))]),
    ],
)
def test_a_place_that_would_not_stay_one_word_is_refused(command: str) -> None:
    with pytest.raises(BadTemplate):
        read_template(command).checked(SHAPES | {f"p{n}": {"type": "string"} for n in range(17)})


def test_who_quotes_is_told_not_to() -> None:
    with pytest.raises(BadTemplate, match=r"remove the quotes around {{\.x}}; values are quoted for you"):
        read_template('echo "{{.x}}"').checked(SHAPES)


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"x": "-h"}, "/x"),
        ({"x": "a\x00b"}, "/x"),
        ({"x": "\x1b[0m"}, "/x"),
        ({"x": ["a", "-b"]}, "/x/1"),
        ({"x": ["a"] * 65}, "/x"),
        ({"x": -5}, "/x"),
        ({"x": "a" * 131_072}, "bytes"),
    ],
)
def test_a_value_that_no_command_should_see_is_refused(values: dict[str, Any], where: str) -> None:
    with pytest.raises(ToolFailed, match=where) as refused:
        filled("ls {{.x}}", **values)
    assert refused.value.code == "invalid_args"
