"""Shell builtins that change what a later command means."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from goclaw.security.shell import shells
from goclaw.security.shell.call import Call
from goclaw.security.shell.evaluate import printf
from goclaw.security.shell.programs import started
from goclaw.security.shell.resolve import SECRET
from goclaw.security.shell.text import FILE, HOLE, known, plain

if TYPE_CHECKING:
    from goclaw.security.shell.analysis import Analysis

Effect = Callable[["Analysis", Call], str | None]  # what it prints; None leaves that to the caller
SETTING = re.compile(r"([A-Za-z_]\w*)(\[[^\]]*\])?(\+?)=(.*)", re.DOTALL | re.ASCII)
NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def _cd(walk: Analysis, call: Call) -> str:
    to = call.operands[0] if call.operands else ("~" if not call.args else HOLE)
    walk.state.put("PWD", call.where(to) if known(to) and to != "-" else HOLE)
    return ""


def _declare(walk: Analysis, call: Call) -> str | None:
    state = walk.state
    exported = call.name == "export" or call.short("x")
    for word in call.words[1:]:
        text = plain(word)
        walk.hidden(text)
        if (match := SETTING.fullmatch(text)) is not None:
            name, index, plus, value = match.groups()
            if call.short("n") and call.name != "export" and SECRET.match(value):
                walk.find("env_dump", "secret")
            vague = index or plus or not value or call.short("niaA")
            state.put(name, HOLE if vague else value)
            started(walk, name, value)
        elif NAME.fullmatch(text):
            name = text
        else:
            continue
        if exported:
            state.exported |= {name}
    return ""


def _unset(walk: Analysis, call: Call) -> str:
    for name in call.operands:
        walk.hidden(name)
        walk.state.drop(name)
    return ""


def _read(walk: Analysis, call: Call) -> str:
    for name in call.operands:
        walk.hidden(name)
        if NAME.fullmatch(name):
            walk.state.put(name, HOLE)
            walk.state.arrays[name] = (HOLE,)
    walk.state.put("REPLY", HOLE)
    return ""


def _let(walk: Analysis, call: Call) -> str:
    for text in call.args:
        walk.hidden(text)
        for name in NAME.findall(text):
            walk.state.put(name, HOLE)
    return ""


def _test(walk: Analysis, call: Call) -> str:
    for text in call.args:
        walk.hidden(text)
    return ""


def _set(walk: Analysis, call: Call) -> str:
    words = [plain(each) for each in call.words[1:]]
    if any(re.fullmatch(r"-[a-zA-Z]*a[a-zA-Z]*", each) for each in words) or "allexport" in words:
        walk.state.exports = True
    if "--" in words:
        walk.state.arguments = tuple(words[words.index("--") + 1 :])
    elif words and not words[0].startswith(("-", "+")):
        walk.state.arguments = tuple(words)
    return ""


def _shift(walk: Analysis, call: Call) -> str:
    count = call.args[0] if call.args else "1"
    arguments = walk.state.arguments
    walk.state.arguments = None if arguments is None or not count.isdigit() else arguments[int(count[:4]) :]
    return ""


def _alias(walk: Analysis, call: Call) -> str:
    for word in call.args:
        if (match := re.fullmatch(r"([^=]+)=(.*)", word, re.DOTALL)) is not None:
            walk.state.aliases[match[1]] = match[2]
            walk.lenient += 1
            walk.run_text(match[2], None, stdin=None, here=False)
            walk.lenient -= 1
    return ""


def _hash(walk: Analysis, call: Call) -> str:
    path = call.option("-p")
    if path is not None and call.operands:
        walk.state.aliases[call.operands[-1]] = path
    return ""


def _eval(walk: Analysis, call: Call) -> str:
    words = list(call.args)
    if words[:1] == ["--"]:
        words = words[1:]
    return walk.run_text(" ".join(words), walk.state.arguments, stdin=call.stdin, here=True)


def _trap(walk: Analysis, call: Call) -> str:
    words = [each for each in call.args if each != "--"]
    if words and words[0] not in ("-", "-l", "-p", ""):
        walk.run_text(words[0], None, stdin=None, here=True)
    return ""


def _printf(walk: Analysis, call: Call) -> str | None:
    words = [plain(each) for each in call.words[1:]]
    if words[:1] == ["-v"] and len(words) > 2:
        walk.hidden(words[1])
        walk.state.put(words[1], printf(words[2:], ""))
        return ""
    return None


def _source(walk: Analysis, call: Call) -> str:
    operands = list(call.words[1:])
    if operands[:1] == ["--"]:
        operands = operands[1:]
    if not operands:
        return HOLE
    return shells.script(walk, call, operands[0], tuple(operands[1:]) or walk.state.arguments, here=True)


def _command(walk: Analysis, call: Call) -> str | None:
    if call.args and re.fullmatch(r"-[pvV]*[vV][pvV]*", call.args[0]):
        return (call.args[-1] if call.args[0] == "-v" else FILE) + "\n"
    return None


BUILTINS: dict[str, Effect] = {
    "cd": _cd,
    "pushd": _cd,
    **dict.fromkeys(("export", "declare", "typeset", "readonly", "local"), _declare),
    "unset": _unset,
    **dict.fromkeys(("read", "mapfile", "readarray", "getopts"), _read),
    "let": _let,
    "test": _test,
    "[": _test,
    "set": _set,
    "shift": _shift,
    "alias": _alias,
    "hash": _hash,
    "eval": _eval,
    "trap": _trap,
    "printf": _printf,
    "source": _source,
    ".": _source,
    "command": _command,
}
