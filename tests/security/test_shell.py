"""The command guard against its corpora: what must be refused, by which group, and what must pass. security.md §3."""

from __future__ import annotations

import random
import shlex
import time
from collections import Counter

import pytest

from goclaw.security.shell import GROUPS, UnknownGroup, deny_check, groups_off, listed, safe, simple_commands
from tests.security.corpus import case
from tests.security.shell_corpus import lines, verdict
from tests.security.shell_mutations import mutations

NAMES = ("vectors", "everyday", "internal_files", "near_misses", "variants", "reviewed")
CASES = [
    case(f"shell_{name}", f"{name}-{place}", line.expected != "allow", *line)
    for name in NAMES
    for place, line in enumerate(lines(name), 1)
]
REFUSED = [line for line in lines("vectors") if line.expected != "allow"]
ALWAYS = ("bidi", "too_deep", "budget")  # §3.4: on whatever is switched off


@pytest.mark.parametrize(("expected", "text"), CASES)
def test_a_command(expected: str, text: str) -> None:
    """SEC-08, SEC-13. What the contract blocks is denied by its group, what it lets pass passes; and our own lines."""
    assert verdict(text) == expected


def test_the_size_of_the_corpora() -> None:
    counts = Counter("refused" if case.values[0] != "allow" else "passed" for case in CASES)

    assert counts["refused"] > 1000
    assert counts["passed"] > 700


@pytest.mark.parametrize(("group", "text"), REFUSED)
def test_a_group_that_is_off_refuses_nothing(group: str, text: str) -> None:
    found = deny_check(text, frozenset({group}), "/ws")

    assert found.group != group or found.why in ALWAYS


LIMITS = {
    "braces": "echo " + "{a,b}" * 30,
    "doubling": "a=xx;" + "a=$a$a;" * 40 + "$a",
    "commands": "ls;" * 5461,
    "substitutions": "$(" * 5000,
    "backquotes": "`" * 16384,
    "ranges": "{a..z}{a..z}{a..z}",
    "wrappers": "env " * 12 + "ls",
    "parentheses": "(" * 16384,
    "arguments": "set -- a;" + 'set -- "$@" "$@";' * 30 + "echo $@",
    "functions": "".join(f"f{i}(){{ f{i + 1}; f{i + 1}; }};" for i in range(20)) + "f20(){ ls; }; f0",
}


@pytest.mark.parametrize("name", LIMITS)
def test_sec12_a_limit(name: str) -> None:
    """SEC-12. It is refused within a quarter of a second of work; the best of three, machines are shared."""
    costs = []
    for _ in range(3):
        began = time.process_time()
        assert verdict(LIMITS[name]) == "filter_bypass"
        costs.append(time.process_time() - began)
        if costs[-1] < 0.25:
            break

    assert min(costs) < 0.25


def nested(levels: int) -> str:
    text = "ls"
    for _ in range(levels):
        text = f"sh -c {shlex.quote(text)}"
    return text


def test_three_shells_are_read_and_four_are_not() -> None:
    assert verdict(nested(3)) == "allow"
    assert verdict(nested(4)) == "filter_bypass"
    assert deny_check(nested(4), frozenset(GROUPS)).why == "too_deep", "always on"


def test_a_text_that_is_no_argument() -> None:
    assert verdict("a" * 16385) == "invalid_args"
    assert verdict("ls\0") == "invalid_args"


def test_sec12_no_mutation_of_a_refused_command_passes() -> None:
    """SEC-12. The first of the 20,000 that `long_mutations.py` tries."""
    assert [text for _, text in mutations(3_000) if verdict(text) == "allow"] == []


@pytest.mark.parametrize(
    "around", ["echo {}", "printf %s {}", "grep -n {} notes.md", "git commit -m {}", "cat <<'E_O'\n{}\nE_O\n"]
)
def test_a_refused_command_that_is_only_talked_about_passes(around: str) -> None:
    texts = [text for _, text in REFUSED if "\u202e" not in text and "\u200b" not in text and text.isascii()]
    chosen = random.Random(7).sample(texts, 150)

    quoted = [around.format(shlex.quote(text) if "<<" not in around else text) for text in chosen]

    assert [text for text in quoted if verdict(text) != "allow"] == []


def test_an_agents_switch_wins_key_by_key() -> None:
    assert groups_off({}) == frozenset()
    assert groups_off({"destructive_ops": False, "env_dump": False}, {"env_dump": True, "persistence": False}) == {
        "destructive_ops",
        "persistence",
    }


def test_a_group_nobody_knows_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownGroup) as unknown:
        groups_off({"env_dumb": False})

    assert unknown.value.suggestion == "env_dump"


def test_every_simple_command_counts_for_an_allow_list() -> None:
    assert [each.name for each in simple_commands("ls; env A=1 curl https://example.com | xargs touch")] == [
        "ls", "env", "curl", "xargs", "touch",
    ]  # fmt: skip
    assert safe("ls -la | sort | head")
    assert not safe("ls; curl https://example.com")
    assert not safe("xargs curl < urls.txt")
    assert not safe("find . -exec ssh host {} +")
    assert not safe("sh -c ls")
    assert listed("docker ps; ls", ["docker ps*"])
    assert listed("kubectl get pods", ["kubectl"])
    assert not listed("docker ps; docker rm x", ["docker ps*"])
    assert not listed("docker ps\ncurl x", ["docker ps*"])
    assert not listed("", ["*"])
    assert not listed("$X y", ["docker ps*"])
