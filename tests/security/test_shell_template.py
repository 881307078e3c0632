"""Where a placeholder may stand in a command template. Contract: tools.md §14.2."""

from __future__ import annotations

import pytest

from goclaw.security.shell.template import misplaced


@pytest.mark.parametrize(
    "template",
    [
        "df -h {{.path}}",
        "tail -n {{.n}} f",
        "ls {{ key }}",
        "cat < {{.file}} > out",
        "for f in {{.files}}; do wc -l {{.flag}}; done",
        "A={{.x}} make --target={{.t}}",
        "if test -f {{.f}}; then ls; fi",
        "ls",
    ],
)
def test_a_bare_argument_is_fine(template: str) -> None:
    assert misplaced(template) == []


@pytest.mark.parametrize(
    "template",
    [
        'echo "{{.x}}"',
        "echo '{{.x}}'",
        "{{.x}} y",
        "run-{{.x}} y",
        "./{{.x}}",
        "echo `ls {{.x}}`",
        "echo $(ls {{.x}})",
        "echo ${y:-{{.x}}}",
        "echo $(({{.x}} + 1))",
        "cat <<E\n{{.x}}\nE",
        "cat <<{{.x}}\na\n{{.x}}\n",
        "ls # {{.x}}",
        "echo ${{.x}}",
        "echo \\{{.x}}",
        "ls; {{.x}}",
        "cat <<< {{.x}}",
        "diff <(ls {{.x}}) b",
        "echo 'open {{.x}}",
        "[[ -f {{.x}} ]]",
        'ls {{.x}} "{{.x}}"',
    ],
)
def test_anywhere_else_it_is_not(template: str) -> None:
    assert misplaced(template) == ["x"]
