"""What code does to files, processes and rights, in the words that languages share. Contract: security.md §3.3.

`rm -rf` is no better as `rmtree`: what a group refuses as a command it refuses as a call. A path that code opens is
judged as if `cat` or `tee` had named it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from goclaw.security.shell.groups.env_injection import dangerous

TREES = re.compile(
    r"\b(?:rmtree|remove_tree|rm_rf?|rm_r|rimraf|removedirs|remove_entry_secure|delete-directory|removeItem|rmdir_recursive)\b|"
    r"\b(?:rm|rmdir|rmSync|rmdirSync|remove|removeSync|unlink)\s*\([^)]{0,200}\brecursive\s*[:=]\s*(?:true|1|T)|"
    r"\bRemove-Item\b[^;|\n]*-(?:Recurse|Force)",
    re.IGNORECASE,
)
REMOVES = re.compile(
    r"\bunlink(?:Sync)?\b|\b(?:os|File|FileUtils|fs|Deno)\s*\.\s*(?:remove|rm|delete|unlink)(?:Sync)?\b"
)
MANY = re.compile(
    r"\br?i?glob\b|\b(?:listdir|scandir|iterdir|walk|readdir\w*|array_map|readDir\w*)\b|\bDir\b|@ARGV|<[^<>\n]*[*]?>"
)
KILLS = re.compile(
    r"\b(?:os\s*\.\s*|process\s*\.\s*|Process\s*\.\s*|posix_)?kill(?:pg)?\b\s*\(?(?:[^;\n]*?"
    r"(?:(?<![\w.])0*(?:9|19)(?![\w.])|\b(?:SIG)?(?:KILL|STOP)\b)|\s*-?1\s*[,)])"
)
RAISES = re.compile(
    r"\b(?:posix_)?set(?:e|re|res|fs)?[ug]id\s*\(|\bS_ISUID\b|\bchmod\w*\b[^;\n]{0,80}(?<![\w.])0?o?[2467][0-7]{3}(?![\w.])"
)
INSTALLS = re.compile(
    r"\bpip\b.{0,60}\bmain\b|run_module\(\s*[\"\']pip\b|\binstall\.packages\b|\bPkg\.(?:add|rm|update)\b|\bensurepip\b|\bGem\.install\b|"
    r"\bMix\.install\b|\bCPAN\b"
)
ENVIRONMENT = re.compile(r"\b(?:environb?|env|ENV|putenv|setenv|setEnv)\b")
SET = re.compile(r"""\b([A-Z][A-Z0-9_]+)['"]?\s*(?:[\])}]\s*)?(?:=(?![=~])|:|,|=>)""")
JOINED = re.compile(r"""(['"])\s*(?:\+|\.{1,2}|<>)\s*[bru]?\1""")
TOUCHES = re.compile(
    r"\bopen\w*|read|\bslurp|\bFile\b|\bPath\b|\bfs\b|cop(?:y|ie)|renam|link|\bchmod|\bchown|write|append|"
    r"getline|\binclude|\brequire|\bload|\bexpand|[<>]|\bmkdir|put_contents|get_contents|\bfile\b|\bsource\b|extract|unpack_archive|\bmove\b"
)
WRITES = re.compile(
    r"""(?:extract\w*|unpack_archive|write\w*|append\w*|copy\w*|rename\w*|move|link\w*|chmod\w*|chown\w*|truncate\w*|mkdir\w*|makedirs|unlink\w*|"""
    r"""remove\w*|put_contents|touch|delete\w*|>{1,2}['"]?\s*,?)[\s(]*(?:[^();]*,\s*)?$"""
)
OPENED = re.compile(
    r"""\s*\)*\s*(?:,\s*(?:mode\s*=\s*)?['"][rwaxtb+]*[wax+]|\.\s*(?:open\(\s*['"][wax]|write|touch|unlink|mkdir|chmod|"""
    r"""symlink|rename))"""
)
PATH = re.compile(r"(?=.*[/~.])[^\s|;&*'\"]{2,4096}")
LITERAL = re.compile(r"""'((?:[^'\\\n]|\\.)*)'|"((?:[^"\\\n]|\\.)*)\"""")
HOME = re.compile(r"^[^/]*\bHOME\b[^/]*(?=/)")
MOST = 64  # paths looked at


def joined(text: str) -> str:
    """The code with literals that it adds to one another as one."""
    return JOINED.sub("", text)


def done(text: str) -> Iterator[tuple[str, str]]:
    """The groups that code trips by what it calls, and why."""
    if TREES.search(text) or (REMOVES.search(text) and MANY.search(text)):
        yield "destructive_ops", "removal in code"
    if RAISES.search(text):
        yield "privilege_escalation", "rights in code"
    if KILLS.search(text):
        yield "process_control", "signal in code"
    if INSTALLS.search(text):
        yield "package_install", "install in code"
    if ENVIRONMENT.search(text) and any(map(dangerous, SET.findall(text))):
        yield "env_injection", "variable in code"


def files(text: str) -> Iterator[tuple[str, bool]]:
    """The paths that code names where it works on files, and whether it writes them."""
    if not TOUCHES.search(text):
        return
    for place, match in enumerate(LITERAL.finditer(text)):
        if place >= MOST:
            return
        path = match[1] or match[2] or ""
        begins = re.match(r"\+?>{1,2}\s*", path)
        path = HOME.sub("~", re.sub(r"^[+<>]+\s*", "", path))
        if PATH.fullmatch(path):
            before, after = text[max(0, match.start() - 80) : match.start()], text[match.end() : match.end() + 40]
            yield path, bool(begins or WRITES.search(before) or OPENED.match(after))
