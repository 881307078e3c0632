"""The command guard against its corpora: what must be refused, by which group, and what must pass. security.md §3."""

from __future__ import annotations

import base64
import json
import random
import shlex
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from goclaw.security.shell import GROUPS, UnknownGroup, deny_check, groups_off, listed, safe, simple_commands

PLACES = {"{TMP}": "/tmp", "{VTMP}": "/var/tmp", "{ROOTHOME}": "/root", "{ROOT}": "root"}  # security.md, first lines


def corpus(name: str) -> list[tuple[str, str]]:
    rows = [
        json.loads(line) for line in (Path(__file__).parent / f"corpora/shell_{name}.jsonl").read_text().splitlines()
    ]
    cases = []
    for row in rows:
        text = row["text"]
        for mark, place in PLACES.items():
            text = text.replace(mark, place)
        cases.append((row["expect"], text))
    return cases


NAMES = ("vectors", "everyday", "internal_files", "near_misses", "variants")
CASES = [pytest.param(*case, id=f"{name}-{place}") for name in NAMES for place, case in enumerate(corpus(name), 1)]
REFUSED = [case for case in corpus("vectors") if case[0] != "allow"]
ALWAYS = ("bidi", "too_deep", "budget")  # §3.4: on whatever is switched off


def verdict(text: str, off: frozenset[str] = frozenset()) -> str:
    return deny_check(text, off, "/ws").group or "allow"


@pytest.mark.parametrize(("expected", "text"), CASES)
def test_a_command(expected: str, text: str) -> None:
    assert verdict(text) == expected


def test_the_size_of_the_corpora() -> None:
    counts = Counter("refused" if case.values[0] != "allow" else "passed" for case in CASES)

    assert counts["refused"] > 500
    assert counts["passed"] > 450


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
def test_a_limit(name: str) -> None:
    assert verdict(LIMITS[name]) == "filter_bypass"


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


# the mutations of §3.5


def first_word(text: str, change: str) -> str:
    word, blank, rest = text.partition(" ")
    if not word.isalnum() or not word.isascii():
        return text
    return (
        {
            "split": f'{word[0]}""{word[1:]}',
            "backslash": f"\\{word}",
            "quoted": f"'{word}'",
            "hex": "$'" + "".join(f"\\x{ord(each):02x}" for each in word) + "'",
            "octal": "$'" + "".join(f"\\{ord(each):03o}" for each in word) + "'",
            "echo": f"$(echo {word})",
            "printf": f"`printf %s {word}`",
            "invisible": f"{word[0]}\u200b{word[1:]}",
            "wide": "".join(chr(ord(each) + 0xFEE0) for each in word),
            "default": f"${{zz:-{word}}}",
            "reversed": f"$(echo {word[::-1]} | rev)",
            "encoded": f"$(echo {base64.b64encode(word.encode()).decode()} | base64 -d)",
            "path": f"/usr/bin/{word}",
            "variable": f"V={word}; $V",
        }[change]
        + blank
        + rest
    )


WORDS = [
    "split",
    "backslash",
    "quoted",
    "hex",
    "octal",
    "echo",
    "printf",
    "invisible",
    "wide",
    "default",
    "reversed",
    "encoded",
    "variable",
]
AROUND = [
    "env X=1 {}", "command {}", "timeout 5 {}", "nohup {}", "A=1 {}", "! {}", "true && {}", "false || {}", "ls; {}",
    "ls\n{}", "ls & {}", "{{ {}\n}}", "({}\n)", "if true; then {}\nfi", "for i in 1; do {}\ndone",
    "case a in a) {}\n;; esac", "f() {{ {}\n}}; f", "sh -c {q}", "eval {q}", "sh <<< {q}", "sh <<'E_O'\n{}\nE_O",
    "echo {q} | sh", "echo {b} | base64 -d | sh",
]  # fmt: skip
SIMPLE = {"env X=1 {}", "command {}", "timeout 5 {}", "nohup {}", "A=1 {}", "! {}"}
ONE = [
    text
    for _, text in REFUSED
    if not any(each in text for each in "\n\r;&|<>(){}`#")
    and verdict("ls " + text.partition(" ")[2]) is not None
    and text.split(" ")[0].isalnum()
    and text.split(" ")[0] not in ("export", "declare", "typeset", "eval", "set")
]


@seed(20261121)
@settings(max_examples=1500, deadline=None, database=None)
@given(st.data())
def test_no_mutation_of_a_refused_command_passes(data: st.DataObject) -> None:
    text, simple = data.draw(st.sampled_from(ONE)), True
    for change in data.draw(st.lists(st.sampled_from([*WORDS, *AROUND]), min_size=1, max_size=3)):
        if not simple and (change in WORDS or change in SIMPLE):
            continue  # would be another command: `env A=1 rm` sets a variable, `env ! rm` runs `!`
        if change in WORDS:
            text = first_word(text, change)
            simple = change != "variable"
        else:
            simple = change in SIMPLE - {"A=1 {}", "! {}"}
            encoded = base64.b64encode(text.encode()).decode()
            text = change.format(text, q=shlex.quote(text), b=encoded)

    assert len(text) > 16384 or verdict(text) != "allow", text


@pytest.mark.parametrize(
    "around", ["echo {}", "printf %s {}", "grep -n {} notes.md", "git commit -m {}", "cat <<'E_O'\n{}\nE_O\n"]
)
def test_a_refused_command_that_is_only_talked_about_passes(around: str) -> None:
    texts = [text for group, text in REFUSED if "\u202e" not in text and "\u200b" not in text and text.isascii()]
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
