"""Shells started by a command: what text they would run. Contract: security.md §3.2, §3.3 groups 2 to 4."""

from __future__ import annotations

from typing import TYPE_CHECKING

from goclaw.security.shell.call import Call
from goclaw.security.shell.resolve import process_of
from goclaw.security.shell.text import FILE, HOLE, NET, plain

if TYPE_CHECKING:
    from goclaw.security.shell.analysis import Analysis

SHELLS = frozenset(
    [
        "sh",
        "bash",
        "dash",
        "zsh",
        "ksh",
        "ksh93",
        "ash",
        "mksh",
        "pdksh",
        "oksh",
        "yash",
        "fish",
        "rbash",
        "csh",
        "tcsh",
        "hush",
    ]
)
VALUED = frozenset({"--rcfile", "--init-file", "-o", "+o", "-O", "+O"})


def run(walk: Analysis, call: Call) -> str:
    words = list(call.words[1:])
    text, interactive, stdin_wanted = False, False, False
    at = 0
    while at < len(words):
        word = plain(words[at])
        if word == "--":
            at += 1
            break
        if word.startswith("--command="):
            return walk.run_text(words[at].partition("=")[2], stdin=call.stdin, here=False)
        if word == "-" or not word.startswith(("-", "+")):
            break
        if not word.startswith("--"):
            text |= "c" in word[1:] and word.startswith("-")
            interactive |= "i" in word[1:]
            stdin_wanted |= "s" in word[1:]
        elif word in ("--command",):
            text = True
        elif word in ("--interactive", "--login") and word == "--interactive":
            interactive = True
        if word in VALUED and word.startswith(("--rcfile", "--init-file")) and at + 1 < len(words):
            script(walk, call, words[at + 1], (), here=False)
        at += 2 if word in VALUED or (word[-1:] in ("o", "O") and not word.startswith("--")) else 1
    rest = words[at:]
    if interactive and (call.redirects or call.stdin is not None):
        walk.find("reverse_shell", "interactive shell")
    if text:
        if not rest:
            return ""
        return walk.run_text(plain(rest[0]), tuple(rest[2:]), stdin=call.stdin, here=False)
    if rest and not stdin_wanted and plain(rest[0]) not in ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"):
        return script(walk, call, rest[0], tuple(rest[1:]), here=False)
    if call.stdin is not None:
        return fed(walk, call.stdin, tuple(rest))
    return HOLE


def script(walk: Analysis, call: Call, name: str, arguments: tuple[str, ...] | None, *, here: bool) -> str:
    """Run or source the file `name`, which may be a process substitution."""
    number = process_of(name)
    if number is not None:
        return _known(walk, walk.processes[number], arguments, call.stdin, here=here)
    if plain(name) in ("/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"):
        return fed(walk, call.stdin or "", arguments or ())
    if plain(name).startswith(("/dev/fd/", "/proc/self/fd/")):
        return fed(walk, walk.read(plain(name)), arguments or ())
    if call.where(plain(name)) in walk.downloaded:
        walk.find("data_exfiltration", "download and run")
    return HOLE


def fed(walk: Analysis, text: str, arguments: tuple[str, ...]) -> str:
    """A shell that reads its commands from a pipe or a here-document."""
    if text.strip(FILE + "\n") == "" and FILE in text:
        return HOLE  # the content of a file is out of scope, security.md §16
    return _known(walk, text, arguments, None, here=False)


def _known(walk: Analysis, text: str, arguments: tuple[str, ...] | None, stdin: str | None, *, here: bool) -> str:
    if NET in text:
        walk.find("data_exfiltration", "network to shell")
        return HOLE
    return walk.run_text(text, arguments, stdin=stdin, here=here)
