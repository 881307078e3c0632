"""Rules that make is given on the line itself. Contract: security.md §3.3 groups 1 and 4."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from goclaw.security.shell.call import Call
from goclaw.security.shell.programs import tried
from goclaw.security.shell.resolve import process_of
from goclaw.security.shell.text import FILE, HOLE, NET, known

if TYPE_CHECKING:
    from goclaw.security.shell.analysis import Analysis

NAMES = frozenset({"make", "gmake", "bmake", "remake"})
RECIPE = re.compile(r"(?:^\t|^[^\s:=#][^:=#\n]*:[^=;\n]*;)\s*[-@+]*(.*)$", re.MULTILINE)
CALLED = re.compile(r"\$\(shell\s+([^()]*(?:\([^()]*\)[^()]*)*)\)|!=\s*(.*)$", re.MULTILINE)
VARIABLE = re.compile(r"\$(?:\([^()$]*\)|\{[^{}$]*\}|[@<^?*+%])")


def run(walk: Analysis, call: Call) -> None:
    """Judge the rules of `-f -` and `--eval` as commands; refuse rules that nobody can read."""
    if call.name not in NAMES:
        return
    for each in call.args:
        if each.startswith(("SHELL=", ".SHELLFLAGS=")) and each not in (
            "SHELL=/bin/bash",
            "SHELL=/bin/sh",
            "SHELL=bash",
        ):
            walk.find("filter_bypass", "program")
    text = call.option("--eval", "-E")
    if text is not None:
        _rules(walk, text)
    file = call.option("-f", "--file", "--makefile")
    number = process_of(call.option("-f") or "") if file is not None else None
    if number is not None:
        _rules(walk, walk.processes[number])
    elif file in ("-", "/dev/stdin", "/dev/fd/0"):
        _rules(walk, HOLE if call.stdin is None else call.stdin)
    elif file is not None and walk.read(file) == NET:
        walk.find("data_exfiltration", "download and run")


def _rules(walk: Analysis, text: str) -> None:
    if NET in text:
        walk.find("data_exfiltration", "network to make")
    if text.strip(FILE + "\n") == "":
        return
    if not known(text) and not text.replace(HOLE, "").strip():
        walk.find("code_injection", "unknown rules")
    for match in RECIPE.finditer(text):
        tried(walk, VARIABLE.sub("x", match[1]).replace("$$", "$"))
    for match in CALLED.finditer(text):
        tried(walk, match[1] or match[2] or "")
