"""What strangers write is read in time, or refused, and leads nowhere. Contract: security.md §7.3, §17, SEC-48.

The policy's YAML: `test_policy.py`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from goclaw.edge.ws.frames import BadFrame, parse
from goclaw.tools.hooks.verdict import HookFailed, verdict_of
from goclaw.tools.web.markdown import markdown

BOMB = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
BOMB = f'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY l0 "lol">{BOMB}]><html><body>&l11;</body></html>'
LONG = 10 * 1024 * 1024


def within_a_second(read: Callable[[], object]) -> None:
    began = time.perf_counter()
    read()
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize(
    "declared",
    [
        '<!ENTITY x SYSTEM "file://{file}">',
        '<!ENTITY % y SYSTEM "file://{file}"> %y;',
        '<!ENTITY x PUBLIC "-//a" "file://{file}">',
    ],
)
def test_a_page_reads_no_file_of_ours(tmp_path: Path, declared: str) -> None:
    """SEC-48. XXE."""
    file = tmp_path / "secret"
    file.write_text("canary-of-the-file")
    page = f'<?xml version="1.0"?><!DOCTYPE r [{declared.format(file=file)}]><html><body><p>&x; said</p></body></html>'

    assert "canary" not in str(markdown(page, "https://a.example/"))
    assert "said" in str(markdown(page, "https://a.example/"))


def test_entities_of_entities_do_not_grow() -> None:
    """SEC-48."""
    within_a_second(lambda: markdown(BOMB, "https://a.example/"))
    assert len(str(markdown(BOMB, "https://a.example/"))) < 10 * len(BOMB)


def nested(levels: int) -> str:
    """A frame so deep, itself counted."""
    return f'{{"type":"req","id":"a","method":"m","params":{{"x":{"[" * (levels - 2)}{"]" * (levels - 2)}}}}}'


@pytest.mark.parametrize("levels", [50, 64])
def test_what_is_nested_within_the_limit_is_read(levels: int) -> None:
    """SEC-48."""
    assert parse(nested(levels)).method == "m"


@pytest.mark.parametrize("levels", [65, 1_000, 100_000])
def test_what_is_nested_deeper_is_refused(levels: int) -> None:
    """SEC-48. However deep, it is a refusal in time."""

    def read() -> None:
        with pytest.raises(BadFrame):
            parse(nested(levels))

    within_a_second(read)


def test_ten_megabytes_in_one_line_are_read_in_time() -> None:
    """SEC-48."""
    text = json.dumps({"type": "req", "id": "a", "method": "m", "params": {"x": ["y" * 100] * (LONG // 105)}})
    within_a_second(lambda: parse(text))
    within_a_second(lambda: verdict_of(json.dumps({"decision": "allow", "x": "y" * LONG})))
    within_a_second(lambda: markdown(f"<p>{'y ' * 100}</p>" * 1000, "https://a.example/"))


def test_an_answer_of_a_hook_that_is_a_bomb_is_none() -> None:
    """SEC-48."""

    def read() -> None:
        with pytest.raises(HookFailed):
            verdict_of('{"decision":' + "[" * 100_000 + "]" * 100_000 + "}")

    within_a_second(read)
