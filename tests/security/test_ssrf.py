"""Every spelling of an address that must not be asked, and those that may. Contract: security.md §4.4, §4.5."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from goclaw.security.ssrf import Guard, Refused
from tests.security.corpus import case

CORPUS = [json.loads(line) for line in Path(__file__).with_name("ssrf_vectors.jsonl").read_text().splitlines()]
CASES = [(row["class"], url) for row in CORPUS for url in row["urls"]]


def verdict(url: str, guard: Guard = Guard()) -> str:  # noqa: B008 - frozen
    try:
        target = guard.check(url)
    except Refused as refused:
        return refused.rule
    return "resolve" if target.address is None else "ok"


@pytest.mark.parametrize(
    ("expected", "url"), [case("ssrf", url, row not in ("ok", "resolve"), row, url) for row, url in CASES]
)
def test_a_vector(expected: str, url: str) -> None:
    """SEC-14."""
    assert verdict(url) == expected


def names(*answers: list[str]) -> tuple[Guard, list[str]]:
    asked: list[str] = []
    waiting = list(answers)

    async def resolve(host: str) -> list[str]:
        asked.append(host)
        return waiting.pop(0)

    return Guard(resolve=resolve), asked


@pytest.mark.parametrize(
    "found", [["1.1.1.1", "127.0.0.1"], ["::ffff:10.0.0.1"], ["169.254.169.254"], ["fe80::1%eth0"], ["fd00:ec2::254"]]
)
async def test_one_bad_answer_refuses_the_name(found: list[str]) -> None:
    guard, asked = names(found)

    with pytest.raises(Refused) as refused:
        await guard.addresses("example.com")

    assert refused.value.rule == "addr"
    assert asked == ["example.com"]
    assert not any(address in str(refused.value) for address in found), "what was found is not told"


async def test_a_name_without_an_address_is_not_reached() -> None:
    guard, _ = names([])

    with pytest.raises(Refused) as refused:
        await guard.addresses("example.com")

    assert refused.value.rule == "resolve"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1234/",
        "http://[::1]/",
        "http://10.1.2.3/",
        "http://192.168.1.1/",
        "http://[fd12::1]/",
        "http://[::ffff:127.0.0.1]/",
    ],
)
def test_private_addresses_pass_when_the_operator_says_so(url: str) -> None:
    assert verdict(url, Guard(allow_private=True)) == "ok"


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/",
        "http://0xa9fea9fe/",
        "http://[::ffff:169.254.169.254]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[2002:a9fe:a9fe::]/",
        "http://100.100.100.200/",
        "http://168.63.129.16/",
        "http://[fd00:ec2::254]/",
        "http://[fe80::1%25eth0]/",
        "http://0.0.0.0/",
        "http://224.0.0.1/",
    ],
)
def test_no_flag_opens_the_way_to_metadata_or_nowhere(url: str) -> None:
    assert verdict(url, Guard(allow_private=True)) == "addr"
    assert verdict("http://metadata.google.internal/", Guard(allow_private=True)) == "host"


def test_this_machine_alone_can_be_allowed() -> None:
    guard = Guard(loopback=True)

    assert verdict("http://localhost:11434/v1", guard) == "resolve"
    assert verdict("http://127.0.0.1:11434/v1", guard) == "ok"
    assert verdict("http://10.0.0.1:11434/v1", guard) == "addr"
    assert verdict("http://printer.local/", guard) == "host"
