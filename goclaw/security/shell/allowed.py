"""Allow-lists over the simple commands of a line. Contract: tools.md §12.2."""

from __future__ import annotations

import re
from collections.abc import Iterable

from goclaw.security.shell.check import SimpleCommand, simple_commands

SAFE = frozenset(
    [
        "cat",
        "echo",
        "ls",
        "pwd",
        "head",
        "tail",
        "wc",
        "sort",
        "uniq",
        "grep",
        "find",
        "which",
        "whoami",
        "date",
        "uname",
        "hostname",
        "df",
        "du",
        "free",
        "uptime",
        "file",
        "stat",
        "dirname",
        "basename",
        "realpath",
        "jq",
        "yq",
        "sed",
        "awk",
        "tr",
        "cut",
        "diff",
        "patch",
        "tee",
        "xargs",
        "git",
        "node",
        "npm",
        "npx",
        "yarn",
        "pnpm",
        "bun",
        "deno",
        "python",
        "python3",
        "pip",
        "pip3",
        "go",
        "cargo",
        "rustc",
        "make",
        "cmake",
        "gcc",
        "g++",
        "clang",
        "java",
        "javac",
        "mvn",
        "gradle",
        "test",
        "[",
        "true",
        "false",
        "printf",
        "cd",
        "mkdir",
        "touch",
        "cp",
        "mv",
        "ln",
    ]
)


def safe(command: str) -> bool:
    """Is every simple command of the line a safe bin?"""
    return all(each.name in SAFE for each in _all(command))


def listed(command: str, globs: Iterable[str]) -> bool:
    """Does every simple command of the line match a glob, by its name or its whole text, or is it a safe bin?

    `*` in a glob stands for any characters but a line end.
    """
    patterns = [re.compile(".*".join(map(re.escape, re.split(r"\*+", glob)))) for glob in globs]
    return all(each.name in SAFE or (each.name and _matches(each, patterns)) for each in _all(command))


def _all(command: str) -> tuple[SimpleCommand, ...]:
    """Its simple commands; one without a name, which nothing matches, if there are none."""
    return simple_commands(command) or (SimpleCommand("", command),)


def _matches(command: SimpleCommand, patterns: list[re.Pattern[str]]) -> bool:
    return any(each.fullmatch(command.name) or each.fullmatch(command.text) for each in patterns)
