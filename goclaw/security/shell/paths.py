"""Which files a command reads and writes, and those no command may name.

Contract: security.md §3.3 groups 6, 8, 13; tools.md §9.3.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

from goclaw.security.shell.call import Call, flag, once
from goclaw.security.shell.resolve import wildcard
from goclaw.security.shell.text import HOLE, PROCESS, plain, regex
from goclaw.security.shell.writes import read_by_script, written

if TYPE_CHECKING:
    from goclaw.security.shell.analysis import Analysis

TEXTS = frozenset(
    {
        "echo",
        "printf",
        "test",
        "[",
        "man",
        "which",
        "type",
        "whereis",
        "command",
        "alias",
        "export",
        "declare",
        "local",
        "expr",
        "seq",
        "true",
        "false",
        "say",
        "logger",
    }
)
GREPS = frozenset({"grep", "egrep", "fgrep", "zgrep", "rg", "ag", "ack", "pgrep", "pcregrep", "ugrep"})
SCRIPTED = frozenset({"sed", "gsed", "awk", "gawk", "mawk", "nawk", "jq", "yq", "perl", "expr", "tr"})
LISTS = frozenset({"ls", "cd", "pushd", "stat", "test", "[", "mkdir", "chmod", "du", "find", "tree", "rmdir"})


def texts_only(call: Call) -> list[str]:
    """Arguments that are messages or patterns, not files. Contract: §3.2, text commands."""
    args = call.args
    if call.name in GREPS:
        if call.option("-e", "--regexp", "-f", "--file") is not None:
            return [call.option("-e", "--regexp") or ""]
        return call.operands[:1]
    if call.name in SCRIPTED:
        if call.option("-e", "--expression", "-f", "--file") is not None:
            return [call.option("-e", "--expression") or ""]
        return call.operands[:1]
    if call.name == "git":
        return _messages(args)
    if call.name in ("gh", "glab", "hub"):
        return [value for name in ("-b", "--body", "-t", "--title", "-m") if (value := call.option(name))]
    if call.name in ("find", "fd"):
        return [
            after
            for word, after in itertools.pairwise(args)
            if re.fullmatch(r"-i?(?:name|path|regex|wholename|lname)", word)
        ]
    return []


def _messages(args: list[str]) -> list[str]:
    found: list[str] = []
    for word, after in itertools.pairwise([*args, ""]):
        if word in ("-m", "--message", "--grep", "-S", "-G", "--author", "--format", "--pretty") or re.fullmatch(
            r"-[a-z]*m", word
        ):
            found.append(after)
        elif re.match(r"--(?:message|grep|author|format|pretty)=|-[a-z]*m.|-[SG].", word):
            found.append(word)
    if "grep" in args[:3]:
        found += [each for each in args if not flag(each) and each != "grep"][:1]
    return found


@once
def named(call: Call) -> list[str]:
    """Every argument and redirect that may be a path, resolved; wildcards still in place."""
    found = [target for _, target in call.redirects] + read_by_script(call)
    if call.name not in TEXTS:
        skipped = texts_only(call)
        for raw, word in zip(call.words[1:], call.args, strict=True):
            if word in skipped or PROCESS in raw:
                continue
            candidate = (
                raw if not flag(word) else raw.partition("=")[2] or (raw[2:] if not raw.startswith("--") else "")
            )
            if call.name in ("dd", "docker", "podman", "nerdctl") and "=" in raw:
                candidate = raw.partition("=")[2]
            found.append(candidate)
    if "/" in call.words[0]:
        found.append(call.words[0])
    return [
        call.where(each.replace(HOLE, "", 1) if each.startswith(HOLE) and "/" in each else each)
        for each in found
        if each
    ]


def home_relative(path: str) -> str:
    """The path below the home directory it lies in, as `~/…`; else itself. Lower case."""
    path = path.casefold()
    match = re.match(r"(?:/home/[^/]+|/root|/users/[^/]+|/var/root)(?=/|$)", path)
    return "~" + path[match.end() :] if match else path


def matches(path: str, expression: re.Pattern[str], samples: tuple[str, ...] = ()) -> bool:
    """Is `path` one of those? A wildcard is tried on the samples."""
    if not wildcard(path):
        return (
            expression.match(home_relative(plain(path))) is not None
            or expression.match(plain(path).casefold()) is not None
        )
    if expression.match(home_relative(plain(path))) is not None:
        return True
    pattern = regex(home_relative(path))
    if pattern is None:
        return True
    compiled = re.compile(pattern.replace(".*", "[^/]*").replace("(?!)", ""), re.DOTALL)
    return any(_visible(path, each) and compiled.match(each) and _whole(compiled, each) for each in samples)


def _whole(compiled: re.Pattern[str], sample: str) -> bool:
    parts = sample.split("/")
    return any(compiled.fullmatch("/".join(parts[:count])) for count in range(2, len(parts) + 1))


def _visible(path: str, sample: str) -> bool:
    """A wildcard does not stand for the dot a name begins with."""
    ours, theirs = home_relative(path).split("/"), sample.split("/")
    return all(not (other.startswith(".") and wildcard(mine[:1])) for mine, other in zip(ours, theirs, strict=False))


INTERNAL = re.compile(r"(?:.*/)?\.goclaw(?:/|$)")
EXEMPT = re.compile(r"(?:~|.*/)\.?/?\.goclaw/skills-store(?:/|$)")
INTERNAL_SAMPLES = ("~/.goclaw", "/.goclaw", ".goclaw")


def check(walk: Analysis, call: Call) -> None:
    """The prefixes no command may name, whatever is switched off. Contract: tools.md §9.3."""
    from goclaw.security.shell.analysis import Refused

    for path in named(call):
        name = plain(path).casefold()
        inside = INTERNAL.match(name) is not None or _globs_internal(path)
        exempt = EXEMPT.match(name) is not None and path not in written(call)
        if inside and not exempt:
            raise Refused("denied_path", "internal")
        if any(
            name == prefix or name.startswith(prefix.rstrip("/") + "/") for prefix in map(str.casefold, walk.denied)
        ):
            raise Refused("denied_path", "prefix")


def _globs_internal(path: str) -> bool:
    if not wildcard(path):
        return False
    for part in path.split("/"):
        if wildcard(part) and not wildcard(part[:1]):
            pattern = regex(part.casefold())
            if pattern is None or re.fullmatch(pattern, ".goclaw"):
                return True
    return False
