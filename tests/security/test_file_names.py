"""Names that others choose. Contract: security.md §7.3."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goclaw.security.file_names import safe_name


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\x\\report.pdf", "report.pdf"),
        ("/", "file"),
        ("", "file"),
        ("..", "file"),
        (".bashrc", "_.bashrc"),
        ("CON", "_CON"),
        ("nul.txt", "_nul.txt"),
        ("lpt1.tar.gz", "_lpt1.tar.gz"),
        ("console.txt", "console.txt"),
        ("com10", "com10"),
        ("a\x00b\nc\x7f.txt", "abc.txt"),
        ("cod\u202etxt.exe", "codtxt.exe"),
        ("名前 1.txt", "名前 1.txt"),
        ("at 9:41\u202fAM.png", "at 9:41\u202fAM.png"),
        ("name. . .", "name"),
        ("x" * 300 + ".pdf", "x" * 196 + ".pdf"),
        ("名" * 100 + ".pdf", "名" * 65 + ".pdf"),
        ("x." + "y" * 300, "x." + "y" * 198),
    ],
)
def test_a_name_is_one_we_can_have(given: str, name: str) -> None:
    assert safe_name(given) == name


@given(st.text())
def test_no_name_leads_anywhere_or_hides(given: str) -> None:
    name = safe_name(given)
    assert 0 < len(name.encode()) <= 200
    assert not set(name) & set("/\\\x00\n")
    assert not name.startswith(".")
    assert safe_name(name) == name
