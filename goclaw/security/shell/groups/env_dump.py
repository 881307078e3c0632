"""Printing the environment, where secrets may be."""

from __future__ import annotations

import re

from goclaw.security.shell import paths
from goclaw.security.shell.call import Call
from goclaw.security.shell.wrappers import peel

ENVIRON = re.compile(r"/proc/[^/]+/(?:task/[^/]+/)?environ$")
SAMPLES = ("/proc/self/environ", "/proc/1/environ", "/proc/1234/environ")
LISTS = frozenset(
    {
        ("systemctl", "show-environment"),
        ("direnv", "dump"),
        ("direnv", "export"),
        *((manager, "run", "env") for manager in ("npm", "pnpm", "yarn", "bun")),
    }
)
SHOWS = {
    **dict.fromkeys(("gdb", "lldb"), re.compile(r"^\s*show\s+env\w*\s*$|^\s*settings\s+show\s+target\.env")),
    **dict.fromkeys(("vim", "vi", "nvim", "ex"), re.compile(r"\benviron\(\s*\)")),
}
JQ = re.compile(
    r"""(?<![.\w$"'])env(?![\w"'(])(?!\s*(?:\.\s*\w|\[))|\$ENV(?!\w)(?!\s*(?:\.\s*\w|\[))|(?<![\w])\$__prog"""
)


def refuse(call: Call) -> str | None:
    name, args = call.name, call.args
    if any(paths.matches(each, ENVIRON, SAMPLES) for each in paths.named(call)):
        return "environ"
    if name == "env" and not any(inner.words for inner in peel(call)) and not call.long("--help", "--version"):
        return "listing"
    if name == "printenv":
        return "listing"
    if name == "set" and not args:
        return "listing"
    if name in ("export", "declare", "typeset", "readonly"):
        if not call.operands and (not call.flags or name != "declare" or not call.short("fFaAi")):
            return None if call.flags and call.short("fF") else "listing"
        if call.short("p") and name in ("declare", "typeset", "export") and not call.short("fF"):
            return "listing"
    if name in ("make", "gmake") and (call.short("p") or call.long("--print-data-base")):
        return "listing"
    if (
        (name, *call.operands[:1]) in LISTS
        or (name, *call.operands[:2]) in LISTS
        or (name == "php" and call.short("i"))
    ):
        return "listing"
    if name in SHOWS and any(SHOWS[name].search(each) for each in args):
        return "listing"
    if name == "compgen" and (call.short("ev") or call.option("-A") in ("export", "variable")):
        return "listing"
    if name == "ps" and _shows_environment(args):
        return "ps"
    if name in ("jq", "gojq", "jaq") and args and _jq(call):
        return "jq"
    return None


def _shows_environment(args: list[str]) -> bool:
    """BSD options have no dash; `e` among them shows the environment."""
    return any(re.fullmatch(r"[a-zA-Z]*e[a-zA-Z]*", each) for each in args[:2] if not each.startswith("-")) and not any(
        each.startswith("-") for each in args[:1]
    )


def _jq(call: Call) -> bool:
    filters = call.operands[:1]
    return any(JQ.search(re.sub(r'"(?:[^"\\(]|\\[^(])*"', '""', each)) for each in filters)
