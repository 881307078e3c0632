"""Which texts of a command line are programs for an interpreter. Contract: security.md §3.2."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

from goclaw.security.shell.call import Call
from goclaw.security.shell.languages import LANGUAGES, OTHERS, Language, language, module
from goclaw.security.shell.programs import handed, judge
from goclaw.security.shell.resolve import process_of
from goclaw.security.shell.text import FILE, HOLE, NET, PROCESS, known, plain

if TYPE_CHECKING:
    from goclaw.security.shell.analysis import Analysis

REMOTE_MODULES = {
    "http.server": "data_exfiltration",
    "smtpd": "data_exfiltration",
    "aiosmtpd": "data_exfiltration",
    "pty": "reverse_shell",
    "telnetlib": "reverse_shell",
    "ftplib": "data_exfiltration",
    "pyftpdlib": "data_exfiltration",
    "simplehttpserver": "data_exfiltration",
}
REMOTE = re.compile(r"(?:https?|ftp)://", re.IGNORECASE)


def run(walk: Analysis, call: Call) -> None:
    """Judge what an interpreter is given: code in an argument, a module, standard input, a file of this line."""
    kind = language(call.name)
    if not kind:
        return
    if call.name in ("deno", "bun") and call.args[:1] == ["eval"] and len(call.args) > 1:
        judge(walk, "node", call.args[1])
        return
    found, operands = _inline(call, LANGUAGES[kind], kind) if kind != "other" else _flagged(call)
    if kind == "awk" and operands and not (call.short("f") or call.long("--file")):
        found, operands = [*found, operands[0]], operands[1:]
    if kind == "awk" and (number := process_of(call.option("-f", "--file") or "")) is not None:
        _text(walk, kind, walk.processes[number])
    if kind in ("perl", "ruby") and call.short("np"):
        found = [f"while (<>) {{ {text} }}" for text in found]
    for text in found:
        judge(walk, kind, text)
        handed(walk, kind, text, [*operands, *_given(walk, call)])
    if not found and any(REMOTE.match(each) for each in operands[:2]):
        walk.find("data_exfiltration", "network to interpreter")
    if kind == "python" and (name := module(call)):
        _module_run(walk, call, name.casefold())
    if kind == "ruby" and re.search(r"(?:^| )-r ?(?:socket|net/|open-uri|openssl)", " ".join(call.args)):
        walk.find("reverse_shell", "network library")
    if kind == "perl" and re.search(r"(?:^| )-[mM](?:IO::Socket|Socket|Net::|LWP|HTTP)", " ".join(call.args)):
        walk.find("reverse_shell", "network library")
    if found or (kind == "python" and module(call)) or kind == "awk":
        return
    _program(walk, call, kind, operands)


def _given(walk: Analysis, call: Call) -> list[str]:
    """What a program may read beside its operands: awk's variables, and those set in front of the command."""
    variables = [after.partition("=")[2] for word, after in itertools.pairwise(call.args) if word in ("-v", "--assign")]
    variables += [word[2:].partition("=")[2] for word in call.args if re.match(r"-v\w+=", word)]
    if call.stdin is not None and FILE not in call.stdin:
        variables.append(call.stdin)
    return variables + [value for name in call.sets for value in walk.state.values.get(name, ())]


def _module_run(walk: Analysis, call: Call, name: str) -> None:
    if group := REMOTE_MODULES.get(name):
        walk.find(group, "module")
    if name in ("timeit", "pdb", "code", "ipython"):
        for each in call.args:
            judge(walk, "python", each)


def _flagged(call: Call) -> tuple[list[str], list[str]]:
    """The same for the languages whose flags are words."""
    flags = OTHERS[call.name]
    found = [after for word, after in itertools.pairwise(call.args) if word.casefold() in flags]
    found += [word.partition("=")[2] for word in call.args if word.startswith("--") and word.partition("=")[0] in flags]
    return found, [each for each in call.operands if each not in found]


def _program(walk: Analysis, call: Call, kind: str, operands: list[str]) -> None:
    if operands and operands[0] not in ("-", "/dev/stdin", "/dev/fd/0"):
        number = process_of(operands[0])
        if number is not None:
            _text(walk, kind, walk.processes[number])
        return
    if call.stdin is not None and call.flags[:1] != ["--version"]:
        _text(walk, kind, call.stdin)


def _text(walk: Analysis, kind: str, text: str) -> None:
    if NET in text:
        walk.find("data_exfiltration", "network to interpreter")
    elif FILE in text and text.strip(FILE + "\n") == "":
        return
    elif not known(text) and HOLE in text and not text.replace(HOLE, "").strip():
        walk.find("code_injection", "unknown program")
    else:
        judge(walk, kind, text)


def _inline(call: Call, spec: Language, kind: str) -> tuple[list[str], list[str]]:
    """The texts given as code, and the operands."""
    found: list[str] = []
    words = [each if each.startswith(PROCESS) else plain(each) for each in call.words[1:]]
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "--":
            break
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            if name in spec.long:
                found.append(value if equals else (words[at] if at < len(words) else ""))
                at += 0 if equals else 1
            continue
        if not word.startswith("-") or word == "-":
            at -= 1
            break
        for place, letter in enumerate(word[1:], 1):
            if letter in spec.inline or letter in spec.valued:
                rest = word[place + 1 :]
                if (kind == "perl" and letter in "I") or letter not in spec.inline:
                    at += not rest
                else:
                    if not rest and at < len(words):
                        rest = words[at]
                        at += 1
                    found.append(rest)
                    if kind == "python":
                        return found, words[at:]
                break
        if kind == "python" and "m" in word and not word.startswith("--") and not found:
            break
    return found, words[at:]
