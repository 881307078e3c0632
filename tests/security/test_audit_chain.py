"""The audit's chain of hashes: known answers, and that every touch shows. Contract: security.md §11.1, SEC-41."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from goclaw.security.audit import FIRST, Act, Break, Line, canonical, chained, check, digest, entry
from goclaw.security.known import Known

KNOWN = (
    '{"action":"config.applied","actor_id":"system","actor_type":"user","chain":"node-a","decision":"info","details":'
    '{"changed":["gateway.port"]},"ip":null,"policy_version":null,"prev_hash":"'
    "0000000000000000000000000000000000000000000000000000000000000000"
    '","reason":"","run_id":null,"seq":1,"subject":"gateway.port","tenant_id":"0193a5b0-7000-7000-8000-000000000001",'
    '"trace_id":null,"ts":"2026-01-02T03:04:05.000006Z"}',
    '{"action":"tools.exec","actor_id":"coder","actor_type":"agent","chain":"node-a","decision":"deny","details":'
    '{"name":"é"},"ip":null,"policy_version":"policy-c28f37b7de4aaf4d","prev_hash":"'
    "4e00e9b4678a23f5a13769c7450a0c55a28266fd01933b5eab06645cc93c5f6c"
    '","reason":"destructive_ops","run_id":null,"seq":2,"subject":"rm","tenant_id":'
    '"0193a5b0-7000-7000-8000-000000000001","trace_id":null,"ts":"2026-01-02T03:04:06.500000Z"}',
)
HASHES = (
    "4e00e9b4678a23f5a13769c7450a0c55a28266fd01933b5eab06645cc93c5f6c",
    "69286632c7de7e7da131ea618c29958ef264200996fc70b08f794dfe79d9140b",
)
TENANT = "0193a5b0-7000-7000-8000-000000000001"
AT = datetime(2026, 1, 2, 3, 4, 5, 6, UTC)


def chain(length: int, name: str = "node-a") -> list[Line]:
    lines: list[Line] = []
    for seq in range(1, length + 1):
        line = entry(Act(action="tools.exec", decision="deny", tenant_id=TENANT, subject="rm"), AT)
        lines.append(chained(line, name, seq, lines[-1]["hash"] if lines else FIRST))
    return lines


@pytest.mark.parametrize(("text", "hash"), list(zip(KNOWN, HASHES, strict=True)))
def test_known_answers(text: str, hash: str) -> None:
    """SEC-41. The known answer."""
    line = json.loads(text)

    assert canonical(line) == text
    assert digest(line) == hash


def test_what_we_write_is_what_the_contract_hashes() -> None:
    details = {"changed": ["gateway.port"]}
    act = Act(
        action="config.applied", tenant_id=TENANT, actor_type="user", actor_id="system",
        subject="gateway.port", details=details,
    )  # fmt: skip
    line = entry(act, AT)

    assert chained(line, "node-a", 1, FIRST)["hash"] == HASHES[0]


def test_an_untouched_chain_is_whole() -> None:
    assert check(chain(5)) is None
    assert check(chain(5)[2:]) is None  # what was before is in an older file
    assert check([line for pair in zip(chain(3), chain(3, "node-b"), strict=True) for line in pair]) is None


@pytest.mark.parametrize("name", sorted(set(chain(1)[0]) - {"chain", "seq"}))
def test_every_member_is_held_by_the_hash(name: str) -> None:
    lines = chain(3)
    lines[1] = {**lines[1], name: "x" if lines[1][name] != "x" else "y"}

    assert check(lines) == Break(chain="node-a", seq=2, why="hash")


def test_a_line_written_anew_breaks_the_next() -> None:
    lines = chain(3)
    lines[1] = chained({**lines[1], "subject": "ls"}, "node-a", 2, lines[0]["hash"])

    assert check(lines) == Break(chain="node-a", seq=3, why="hash")


def test_missing_and_moved_lines() -> None:
    lines = chain(5)

    assert check([*lines[:2], *lines[3:]]) == Break(chain="node-a", seq=3, why="gap")
    assert check([lines[0], lines[2], lines[1]]) == Break(chain="node-a", seq=2, why="gap")
    assert check([lines[0], lines[0]]) == Break(chain="node-a", seq=1, why="order")
    assert check([lines[0], {}, lines[1]]) == Break(chain="", seq=1, why="hash")


def test_a_gap_its_writer_tells_of_is_none_in_that_sink() -> None:
    lines = chain(5)
    told = entry(Act(action="audit.gap", details={"sink": "file", "from_seq": 3, "to_seq": 4}), AT)
    kept = [*lines[:2], lines[4], chained(told, "node-a", 6, lines[4]["hash"])]

    assert check(kept, "file") is None
    assert check(kept, "table") == Break(chain="node-a", seq=3, why="gap")
    assert check([*lines[:1], *kept[2:]], "file") == Break(chain="node-a", seq=2, why="gap")


@pytest.mark.parametrize("value", [0.1, 2**60, "a\0b", "\ud800", {"a": [None, True, 1]}, ("x",), AT, b"raw"])
def test_details_are_what_every_sink_gives_back(value: Any) -> None:
    line = entry(Act(action="tools.exec", tenant_id="nobody", details={"v": value}), AT)

    assert json.loads(json.dumps(line)) == line
    assert line["tenant_id"] is None
    assert isinstance(line["details"]["v"], str | list | dict)


def test_a_line_holds_no_secret_and_has_bounds() -> None:
    act = Act(
        action="secret.written", actor_id="lan" * 500, subject="sk-abcdefghijklmnopqrstuvwxyz",
        reason="hunter22 was wrong", details={"api_key": "abc", "note": "hunter22"},
    )  # fmt: skip
    line = entry(act, AT, Known(["hunter22"]).forms)
    large = entry(Act(action="x", details={"a": "long words " * 500}), AT)

    assert line["subject"] == "[redacted:openai]"
    assert line["reason"] == "[redacted:secret] was wrong"
    assert line["details"] == {"api_key": "***", "note": "[redacted:secret]"}
    assert len(line["actor_id"]) == 255
    assert list(large["details"]) == ["cut"]
