"""Programs with a command language of their own that can start another program. Contract: security.md §3.3 group 10.

What they are told stands in options, operands or standard input. Only the words that leave them are looked for.
"""

from __future__ import annotations

import itertools
import re

from goclaw.security.shell.call import Call

DEBUGGER = re.compile(r"\s*(?:!|\||(?:shell|she|pipe|make|python|python-interactive|py|pi|guile|gu|platform|script)\b)")
QUERY = re.compile(r"(?:^|[\s;])\\!|^\s*system\s", re.MULTILINE)
LIGHT = re.compile(r"^\s*\.(?:shell|system|sh|sys)\b|^\s*\.(?:output|once|import|read|excel)\s+['\"]?\|", re.MULTILINE)
BANG = re.compile(r"^\s*(?:[\d,.$%;]*|[rwe]\s*|silent!?\s*)!", re.MULTILINE)

# name: (options whose value is told, whether operands are told too, what leaves it)
CONSOLES: dict[str, tuple[tuple[str, ...], bool, re.Pattern[str]]] = {
    **dict.fromkeys(
        ("gdb", "cgdb", "gdb-multiarch"), (("-ex", "-iex", "-eval-command", "--eval-command", "--ex"), False, DEBUGGER)
    ),
    "lldb": (("-o", "-O", "-s", "--one-line", "--one-line-before-file"), False, DEBUGGER),
    "sqlite3": (("-cmd",), True, LIGHT),
    "psql": (("-c", "--command"), False, QUERY),
    **dict.fromkeys(("mysql", "mariadb"), (("-e", "--execute"), False, QUERY)),
    **dict.fromkeys(("ed", "red", "ex"), ((), False, BANG)),
    "dc": (("-e", "--expression"), False, BANG),
    **dict.fromkeys(("ftp", "lftp", "sftp"), (("-e", "-c"), False, BANG)),
    **dict.fromkeys(("gs", "ghostscript"), (("-c",), True, re.compile(r"%pipe%"))),
    **dict.fromkeys(
        ("tex", "latex", "pdflatex", "xelatex", "lualatex", "pdftex", "luatex"),
        ((), True, re.compile(r"\\write18|\\directlua")),
    ),
    "m4": ((), False, re.compile(r"\b(?:e?syscmd)\b")),
}


def leaves(call: Call) -> bool:
    """Is it told to start a program?"""
    console = CONSOLES.get(call.name)
    if console is None:
        return False
    options, operands, out = console
    told = [after for word, after in itertools.pairwise(call.args) if word in options]
    told += [word.partition("=")[2] for word in call.flags if word.partition("=")[0] in options]
    told += call.operands if operands else []
    return any(map(out.search, [*told, call.stdin or ""]))
