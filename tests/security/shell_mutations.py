"""Refused commands in disguise. Contract: security.md §3.5."""

from __future__ import annotations

import base64
import random
import shlex
from collections.abc import Callable, Iterator

from tests.security.shell_corpus import Line, lines

LONGEST = 16_384  # characters of a command
SEED = 20261121

WORDS: dict[str, Callable[[str], str]] = {  # the name of the command
    "split": lambda word: f'{word[0]}""{word[1:]}',
    "backslash": lambda word: f"\\{word}",
    "quoted": lambda word: f"'{word}'",
    "hexadecimal": lambda word: "$'" + "".join(f"\\x{ord(each):02x}" for each in word) + "'",
    "octal": lambda word: "$'" + "".join(f"\\{ord(each):03o}" for each in word) + "'",
    "echo": lambda word: f"$(echo {word})",
    "printf": lambda word: f"`printf %s {word}`",
    "invisible": lambda word: f"{word[0]}\u200b{word[1:]}",
    "wide": lambda word: "".join(chr(ord(each) + 0xFEE0) for each in word),
    "default": lambda word: f"${{zz:-{word}}}",
    "reversed": lambda word: f"$(echo {word[::-1]} | rev)",
    "encoded": lambda word: f"$(echo {base64.b64encode(word.encode()).decode()} | base64 -d)",
    "upper": str.upper,
    "path": lambda word: f"/usr/bin/{word}",
    "variable": lambda word: f"V={word}; $V",
}
BEFORE = ["env X=1 {}", "command {}", "timeout 5 {}", "nohup {}", "busybox {}", "A=1 {}", "! {}"]  # one command
AROUND = [  # a line
    "true && {}", "false || {}", "ls; {}", "ls\n{}", "ls & {}", "{{ {}\n}}", "({}\n)", "if true; then {}\nfi",
    "for i in 1; do {}\ndone", "case a in a) {}\n;; esac", "f() {{ {}\n}}; f", "sh -c {quoted}", "eval {quoted}",
    "sh <<< {quoted}", "sh <<'{end}'\n{}\n{end}", "echo {quoted} | sh", "echo {encoded} | base64 -d | sh",
    "python3 -c {python}",
]  # fmt: skip
# of the shell itself: there is no file that `timeout` could start
BUILTINS = frozenset({"export", "declare", "typeset", "eval", "set", "history", "compgen", "enable", "source"})


def mutated(line: Line, rng: random.Random) -> str:
    """The line after one to three changes that leave it as harmful as it was."""
    text = line.text
    bare = not any(each in text for each in "\n\r;&|<>(){}`#") and text.isascii()
    simple = bare and _word(text).isalnum() and _word(text) not in BUILTINS and "=" not in _word(text)
    for level in range(rng.randint(1, 3)):
        change = rng.choice([*WORDS, *BEFORE, *AROUND] if simple else AROUND)
        if change in WORDS:
            word, blank, rest = text.partition(" ")
            text = WORDS[change](word) + blank + rest if word.isalnum() and word.isascii() else text
            simple = change != "variable"
            continue
        text = change.format(
            text,
            end=f"E_O{level}",
            quoted=shlex.quote(text),
            encoded=base64.b64encode(text.encode()).decode(),
            python=shlex.quote(f"import os; os.system({text!r})"),
        )
        simple = change in BEFORE and change not in ("A=1 {}", "! {}")
    return text


def mutations(count: int) -> Iterator[tuple[Line, str]]:
    """`count` of them, the same ones every time, each line of the contract as often as any other."""
    rng = random.Random(SEED)
    refused = [line for line in lines("vectors") if line.expected != "allow"]
    for number in range(count):
        line = refused[number % len(refused)]
        text = mutated(line, rng)
        if len(text) <= LONGEST:
            yield line, text


def _word(text: str) -> str:
    return text.partition(" ")[0]
