"""Commands that read an argument once more: as a line of the shell, as arithmetic, as a program of their own.

A value that is one quoted word is code again for them. Contract: tools.md §14.2.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from goclaw.security.shell.groups.env_injection import unfit_to_store
from goclaw.security.shell.syntax.tree import (
    Arithmetic,
    Assignment,
    For,
    Function,
    Literal,
    Parameter,
    Simple,
    Test,
    Word,
)

ALL = re.compile(  # whatever they are given
    r"eval|let|trap|alias|unalias|unset|declare|typeset|read|mapfile|readarray|getopts|hash|enable|complete|compgen|"
    r"compopt|bind|fc|history|jobs|source|\.|coproc|wait|watch|ssh|rsh|remsh|parallel|at|batch|tmux|screen|expect|su|"
    r"runuser|script|entr|osascript"
)
NAMED = re.compile(r"export|readonly|local")  # fine as NAME=value
SHELLS = re.compile(r"sh|bash|dash|zsh|ksh|ash|mksh|fish|rbash|csh|tcsh|busybox")
WRAPPERS = re.compile(
    r"env|command|builtin|exec|nohup|setsid|time|timeout|nice|ionice|chrt|taskset|stdbuf|strace|ltrace|unbuffer|"
    r"caffeinate|flock|xargs|busybox|toybox|sudo|doas|find"
)
INLINE = {  # options whose next word, or rest, is code
    "python": "c", "perl": "eE", "ruby": "e", "node": "ep", "nodejs": "ep", "php": "rRBE", "lua": "e", "bun": "e",
    "deno": "", "vim": "c", "vi": "c", "ex": "c", "nvim": "c", "git": "c", "env": "S", "sed": "e", "rg": "", "make": "",
    "flock": "c", "dc": "e", "emacs": "", "gdb": "", "sqlite3": "", "psql": "c", "mysql": "e",
}  # fmt: skip
LONG = re.compile(r"--?(?:eval|print|run|command|cmd|execute|expression|split-string|ex|pre|exec|config-env)(?:=|\Z)")
FIRST = re.compile(r"[gmn]?awk|g?sed|g?make|bc|dc")  # their first operand is code
TESTS = frozenset(["-v", "-R"])  # of `test` and `printf`: the next word is a variable, with a subscript
NAME = re.compile(r"([A-Za-z_]\w*)=", re.ASCII)
VERSION = re.compile(r"[\d.]+\Z")


def rereads(node: object, marks: str) -> bool:
    """Whether a placeholder, one of the characters `marks`, is read again. What a variable gets of it may be, too."""
    flows = any(_flows(each, marks) for each in _all(node))
    return any(_rereads(each, marks) or (flows and _computes(each)) for each in _all(node))


def _rereads(node: object, marks: str) -> bool:
    match node:
        case Assignment(name=name, value=value):
            return _has(value, marks) and unfit_to_store(name)
        case Simple(words=words):
            given = [place for place, word in enumerate(words) if _has(word, marks)]
            return bool(given) and _command([_text(word) for word in words], given, marks)
        case Word():
            return re.search(rf"\$\[[^\]]*[{marks}]", _text(node)) is not None
    return False


def _command(words: list[str], given: list[int], marks: str) -> bool:
    if any((found := NAME.match(words[at])) and unfit_to_store(found[1]) for at in given):
        return True
    place = 0
    while place < len(words):
        name = posixpath.basename(words[place]).lower().removesuffix(".exe")
        name = VERSION.sub("", name) or name
        behind = words[place + 1 :]
        if ALL.fullmatch(name) or (NAMED.fullmatch(name) and not all(NAME.match(words[at]) for at in given)):
            return True
        if name in ("test", "[", "printf") and TESTS & set(behind):
            return True
        if name == "deno" and behind[:1] == ["eval"]:
            return True
        if FIRST.fullmatch(name) and _first(name, behind, marks):
            return True
        if name in INLINE and _inline(INLINE[name], behind, marks):
            return True
        if not WRAPPERS.fullmatch(name):
            return False
        place = next((at for at in range(place + 1, len(words)) if _may_run(words[at])), len(words))
    return False


def _may_run(word: str) -> bool:
    """What stands behind a wrapper and is no option, number or assignment."""
    return bool(word) and word[0] not in "-{" and "=" not in word and not word[0].isdigit()


def _first(name: str, words: list[str], marks: str) -> bool:
    """Whether the program itself is a placeholder."""
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in ("-e", "-f", "--expression", "--file", "-C"):
            if name not in ("make", "gmake"):
                return False  # the program is told so, and what comes behind are files; INLINE looks at that
            skip = True
        elif word in ("-v", "-F", "-i", "-l", "-j"):
            skip = word in ("-v", "-F", "-l")
        elif not word.startswith("-"):
            if name in ("make", "gmake"):
                if any(mark in word for mark in marks):
                    return True
                continue
            return any(mark in word for mark in marks)
    return False


def _inline(letters: str, words: list[str], marks: str) -> bool:
    for word, after in zip(words, [*words[1:], ""], strict=True):
        code = bool(letters) and re.match(rf"-[A-Za-z]*[{letters}]", word) is not None
        if (code or LONG.match(word)) and any(mark in word + after for mark in marks):
            return True
    return False


def _flows(node: object, marks: str) -> bool:
    """Whether a variable or a positional parameter gets a placeholder."""
    match node:
        case Assignment():
            return _has(node, marks)
        case For(words=items):
            return any(_has(word, marks) for word in items or ())
        case Function():
            return True
        case Simple(words=words) if words:
            name = posixpath.basename(_text(words[0]))
            shell = SHELLS.fullmatch(name) or (
                WRAPPERS.fullmatch(name) and any(SHELLS.fullmatch(_text(word)) for word in words)
            )
            keeps = name == "set" or NAMED.fullmatch(name) or shell
            return bool(keeps) and any(_has(word, marks) for word in words)
    return False


COMPUTED = re.compile(r"\(\(|\$\[|\[\[\s|\$\{!|@[A-Za-z]\}|\beval\b|\blet\b|\$\{\w+\[|-v\b")


def _computes(node: object) -> bool:
    """Whether variables are read as arithmetic, as names or as prompts here."""
    match node:
        case Arithmetic():
            return True
        case Parameter(mark="!") | Parameter(op="@"):
            return True
        case Parameter(subscript=Word()):
            return True
        case Assignment(indexed=True):
            return True
        case Test():
            return True
        case Simple(words=words) if words:
            texts = [_text(word) for word in words]
            name = posixpath.basename(texts[0])
            if any("$[" in text for text in texts):
                return True
            if name in ("eval", "let", "[[", "declare", "typeset") or (
                name in ("test", "[", "printf") and "-v" in texts
            ):
                return True
            return SHELLS.fullmatch(name) is not None and any(COMPUTED.search(text) for text in texts)
    return False


def _has(node: object, marks: str) -> bool:
    return any(mark in text for text in _texts(node) for mark in marks)


def _texts(node: object) -> Iterator[str]:
    return (each.text for each in _all(node) if isinstance(each, Literal))


def _text(word: Word) -> str:
    return "".join(part.text if isinstance(part, Literal) else "$" for part in word.parts)


def _all(node: object) -> Iterator[object]:
    """A node and all below it."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        yield one
        if isinstance(one, tuple):
            waiting += one
        elif is_dataclass(one):
            waiting += [getattr(one, field.name) for field in fields(one)]
