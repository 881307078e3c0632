"""Lists and rules of approvals let through what they say: `corpora/approvals.jsonl`. Contract: tools.md §12."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from goclaw.domain.approval import Simple, fate
from goclaw.security.allowlist import known
from goclaw.security.shell import deny_check, simple_commands

CORPUS = Path(__file__).parent / "corpora/approvals.jsonl"
CASES = [msgspec.json.decode(line) for line in CORPUS.read_bytes().splitlines()]


@pytest.mark.parametrize("case", CASES, ids=[f"{n}-{case['expect']}" for n, case in enumerate(CASES, 1)])
def test_what_is_not_named_is_asked_about(case: dict[str, Any]) -> None:
    """What the deny engine refuses anyway does not run either."""
    rules, command = case["rules"], case["command"]
    parts = tuple(Simple(one.name, one.text, one.plain) for one in simple_commands(command))
    if isinstance(rules, list):
        found = fate("full", "on-miss", known(parts, (), rules))
    else:
        found = fate("allowlist", "off", known(parts, rules["allowlist"]))
    if case["expect"] != "run" and not deny_check(command).allowed:
        return
    assert found == case["expect"]
