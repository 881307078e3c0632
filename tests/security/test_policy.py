"""The policy file and what it allows; every line of a corpus is a case. Contract: security.md §9, SEC-35, SEC-48."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from goclaw.domain.access import MASTER_TENANT
from goclaw.security.plain_yaml import LARGEST
from goclaw.security.policy import AllowedPath, Policy, Rules, difference
from goclaw.security.policy_book import PolicyBook
from goclaw.security.policy_file import STARTER, STRICT, load
from goclaw.security.policy_text import PolicyInvalid, read
from tests.security.corpus import cases

TOOLS = ("read_file", "exec", "web_search")
OTHER = "0193a5b0-7000-7000-8000-000000000002"
Case = dict[str, Any]


def denied(row: Case) -> bool:
    return not row["allowed"]


def allowing(*capabilities: str, **more: Any) -> Policy:
    return Policy(rules=Rules(capabilities=frozenset(capabilities), **more))


@pytest.mark.parametrize("case", cases("policy_versions", refused=lambda _: False))
def test_equal_meanings_have_one_version(case: Case) -> None:
    assert read(case["text"], TOOLS).version == case["version"]


@pytest.mark.parametrize("case", cases("policy_domains", refused=denied))
def test_domains(case: Case) -> None:
    rules = read(json.dumps({"allow_domains": case["listed"]}, ensure_ascii=False), ()).rules

    assert rules.allows_host(case["host"]) is case["allowed"]


@pytest.mark.parametrize("case", cases("policy_capabilities", refused=denied))
def test_capabilities(case: Case) -> None:
    rules = read(json.dumps({"allow_capabilities": case["listed"]}), (*TOOLS, "web_fetch")).rules

    assert rules.allows(case["asked"]) is case["allowed"]


@pytest.mark.parametrize("case", cases("policy_mcp", refused=denied))
def test_mcp_rules(case: Case) -> None:
    """Without rules of its own a case is one of the contract's table."""
    table = [
        {"agent": "*", "server": "*", "tools": ["*"]},
        {"agent": "coder", "server": "fs", "tools": ["read"]},
        {"agent": "coder", "server": "db", "tools": []},
        {"agent": "*", "server": "mail", "tools": ["send"]},
        {"agent": "coder", "server": "*", "tools": ["list"]},
    ]
    mcp = {"default": case.get("default", "deny"), "rules": case.get("rules", table)}

    rules = read(json.dumps({"mcp": mcp}), ()).rules

    assert rules.allows_mcp(*case["call"]) is case["allowed"]


@pytest.mark.parametrize("case", cases("policy_bad", refused=lambda _: True))
def test_what_is_wrong_is_said_with_its_line(case: Case) -> None:
    with pytest.raises(PolicyInvalid) as refused:
        read(case["text"], TOOLS)

    mistakes = refused.value.mistakes
    assert any(case["says"] in str(mistake) for mistake in mistakes), mistakes
    assert case.get("any") or [mistake.line for mistake in mistakes] == case["lines"]


@pytest.mark.parametrize(
    "bomb",
    [
        "[" * LARGEST,
        "a: " * (LARGEST // 3),
        "\n".join(f"k{n}: &a{n} [{', '.join(f'*a{m}' for m in range(n))}]" for n in range(300)),
        "x" * (LARGEST + 1),
        '{"allow_domains": [' + '"a",' * 200_000 + '"b"]}',
    ],
    ids=["brackets", "colons", "aliases", "larger", "one-long-line"],
)
def test_a_bomb_is_refused_within_a_second(bomb: str) -> None:
    began = time.process_time()

    with pytest.raises(PolicyInvalid):
        read(bomb, ())

    assert time.process_time() - began < 5.0  # one that grows with its square takes minutes


def test_what_a_new_file_holds() -> None:
    usual, strict = read(STARTER, TOOLS), read(STRICT, TOOLS)

    assert usual.rules.allows("tools.exec")
    assert usual.rules.allows_host("example.com")
    assert usual.rules.allows_mcp("a", "b", "c")
    assert strict == read("", ())


def test_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("{}")
    file.chmod(0o620)

    with pytest.raises(PolicyInvalid, match="chmod go-w"):
        load(file, ())
    file.chmod(0o600)
    assert load(file, ()) == Policy()


def test_paths_are_plain_and_have_a_mode() -> None:
    rules = read("allow_paths: [/srv//docs/., {path: /srv/ref, mode: ro}]", ()).rules

    assert rules.paths == (AllowedPath(path="/srv/docs"), AllowedPath(path="/srv/ref", mode="ro"))


def test_a_tenants_section_replaces_everybodys_lists() -> None:
    policy = read("allow_capabilities: [tools.exec]\ntenants: {acme: {allow_capabilities: [tools.read_file]}}", TOOLS)
    book = PolicyBook(policy)
    book.slugs = {**book.slugs, OTHER: "acme"}

    assert book.pin(MASTER_TENANT).tool("exec").allowed
    assert not book.pin(OTHER).tool("exec").allowed
    assert book.pin(OTHER).tool("read_file").allowed
    assert not book.pin("somebody new").tool("exec").allowed
    assert policy.version != allowing("tools.exec").version


def test_without_a_policy_everything_is_left_to_the_tool_policy() -> None:
    pinned = PolicyBook().pin(MASTER_TENANT)

    assert pinned.tool("exec").allowed
    assert pinned.host("example.com").allowed
    assert (pinned.version, pinned.paths, pinned.loopback) == (None, (), False)


def test_an_empty_policy_denies_every_tool() -> None:
    denied = PolicyBook(Policy()).pin(MASTER_TENANT).tool("exec")

    assert not denied.allowed
    assert denied.reason == "the policy does not allow tools.exec"
    assert denied.version == denied.current == "policy-20e29e3d873483e5"


def test_a_run_keeps_its_version_except_for_what_is_taken_away() -> None:
    """SEC-36."""
    book = PolicyBook(allowing("tools.exec"))
    began = book.pin(MASTER_TENANT)
    first = book.version

    book.swap(allowing("tools.exec", "tools.read_file"))
    assert not began.tool("read_file").allowed
    assert book.pin(MASTER_TENANT).tool("read_file").allowed

    book.swap(allowing("tools.read_file"))
    gone = began.tool("exec")
    assert not gone.allowed
    assert (gone.version, gone.current) == (first, book.version)
    assert first != book.version


def test_a_policy_that_appears_counts_for_runs_that_began_without() -> None:
    book = PolicyBook()
    began = book.pin(MASTER_TENANT)

    book.swap(allowing("tools.read_file"))

    assert began.tool("read_file").allowed
    assert not began.tool("exec").allowed


def test_paths_of_a_run_are_those_of_both_versions() -> None:
    book = PolicyBook(allowing(paths=(AllowedPath(path="/a"), AllowedPath(path="/b"))))
    began = book.pin(MASTER_TENANT)

    book.swap(allowing(paths=(AllowedPath(path="/b", mode="ro"), AllowedPath(path="/c"))))

    assert began.paths == (AllowedPath(path="/b", mode="ro"),)


def test_a_custom_tool_needs_its_own_name_or_all_of_them() -> None:
    assert PolicyBook(allowing("tools.custom")).pin(MASTER_TENANT).tool("deploy", custom=True).allowed
    assert not PolicyBook(allowing("tools.custom")).pin(MASTER_TENANT).tool("exec").allowed
    assert not PolicyBook(allowing("tools.mcp")).pin(MASTER_TENANT).mcp("a", "b", "c").allowed


def test_a_reload_says_what_came_and_what_went() -> None:
    changes = difference(allowing("tools.exec"), allowing("tools.read_file", loopback=True))

    assert changes == {"capabilities": ["+tools.read_file", "-tools.exec"], "changed": ["allow_loopback"]}
