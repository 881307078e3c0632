"""One resolved command: judge it, follow what it runs, say what it prints. Contract: security.md §3.2."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from goclaw.security.shell import code, groups, makes, paths, shells
from goclaw.security.shell.builtins import BUILTINS
from goclaw.security.shell.call import Call, opaque
from goclaw.security.shell.evaluate import PRINTS
from goclaw.security.shell.hosts import Inner
from goclaw.security.shell.languages import language
from goclaw.security.shell.limits import WRAPPERS, TooMuch
from goclaw.security.shell.programs import tried
from goclaw.security.shell.text import FILE, HOLE, NET, PROCESS
from goclaw.security.shell.wrappers import RAISING, peel

if TYPE_CHECKING:
    from goclaw.security.shell.analysis import Analysis

FETCHERS = frozenset({"curl", "wget", "http", "https", "aria2c", "lynx", "w3m", "fetch", "axel", "links", "elinks"})
PASSES = frozenset({"cat", "tee", "pv", "unbuffer", "sponge", "stdbuf"})  # what goes in comes out


def run(walk: Analysis, call: Call, wrappers: int = 0) -> str:
    """What the command prints. Raises Refused, TooMuch."""
    walk.budget.step()
    if wrappers > WRAPPERS:
        raise TooMuch("too_deep")
    head = call.words[0]
    if head in walk.state.aliases and head not in walk.running:
        return _alias(walk, call)
    if walk.watch is not None and call.name != ":":
        walk.watch(call)
    if opaque(head):
        walk.find("filter_bypass", "opaque")
        return HOLE
    if head.startswith(("http://", "https://")):
        walk.find("data_exfiltration", "program of the network")
    for group, why in groups.judge(call):
        walk.find(group, why)
    paths.check(walk, call)
    _fetched(walk, call)
    if head in walk.state.functions:
        return _function(walk, call)
    effect = BUILTINS.get(call.name)
    if effect is not None:
        text = effect(walk, call)
        if text is not None:
            return text
    if call.name in shells.SHELLS:
        return shells.run(walk, call)
    code.run(walk, call)
    makes.run(walk, call)
    if call.name not in RAISING or "privilege_escalation" in walk.off:
        inner = peel(call)
        if inner:
            return "".join([_inner(walk, call, each, wrappers + 1) for each in inner])
    return _printed(walk, call)


def _inner(walk: Analysis, call: Call, inner: Inner, wrappers: int) -> str:
    stdin = call.stdin if inner.reads else ""
    if inner.loose:
        tried(walk, inner.text or "")
        return HOLE
    if inner.text is not None:
        return walk.run_text(inner.text, stdin=stdin, here=False)
    words = inner.words or (":",)
    return run(walk, Call(words, stdin, call.redirects, inner.sets, call.cwd, call.workspace), wrappers)


def _function(walk: Analysis, call: Call) -> str:
    name = call.words[0]
    if name in walk.running:
        return HOLE
    walk.budget.step(30)  # calls multiply
    outer = walk.state.arguments
    walk.state.arguments = call.words[1:]
    walk.running.append(name)
    text = walk.command(walk.state.functions[name], call.stdin)
    walk.running.pop()
    walk.state.arguments = outer
    return text


def _alias(walk: Analysis, call: Call) -> str:
    head = call.words[0]
    walk.running.append(head)
    text = " ".join([walk.state.aliases[head], *map(shlex.quote, call.words[1:])])
    printed = walk.run_text(text, None, stdin=call.stdin, here=True)
    walk.running.pop()
    return printed


def _fetched(walk: Analysis, call: Call) -> None:
    """Remember files that came from the network; refuse to run one or to make it executable."""
    here = {call.where(each) for each in (call.words[0], *call.args)}
    if call.name in FETCHERS:
        walk.downloaded.update(_saved(call))
    elif call.name == "tee" and call.stdin and NET in call.stdin:
        walk.downloaded.update(call.where(each) for each in call.operands)
    elif walk.downloaded & here:
        if call.name in ("cp", "mv", "ln", "install") and call.operands:
            walk.downloaded.add(call.where(call.operands[-1]))
        first = call.where(call.words[0]) if "/" in call.words[0] else ""
        if first in walk.downloaded or call.name in ("chmod", "install", "source", "."):
            walk.find("data_exfiltration", "download and run")
        if (call.name in shells.SHELLS or language(call.name)) and walk.downloaded & set(_scripts(call)):
            walk.find("data_exfiltration", "download and run")


def _scripts(call: Call) -> list[str]:
    """The files that an interpreter would run: its first operand, and what is loaded before."""
    loaded = call.option("-f", "-r", "--require", "--import", "--file") if language(call.name) else None
    return [call.where(each) for each in [*call.operands[:1], loaded or ""] if each]


def _saved(call: Call) -> set[str]:
    """The files a fetcher leaves behind."""
    found: set[str] = set()
    urls = [each for each in call.operands if "/" in each or "." in each]
    own = (urls[-1].partition("?")[0].rstrip("/").rpartition("/")[2] if urls else "") or "index.html"
    names = (
        ("-o", "--output", "--out") if call.name == "curl" else ("-O", "--output-document", "-o", "--out", "--output")
    )
    at = call.option(*names)
    clustered = next(
        (a for f, a in zip(call.args, call.args[1:], strict=False) if re.fullmatch(r"-[a-zA-Z]*o", f)), None
    )
    for name in (at, clustered if call.name == "curl" else None):
        if name:
            found.add(call.where(name))
    if call.name != "curl" or call.short("O") or call.long("--remote-name", "--remote-name-all"):
        found.add(call.where(own))
    for _, target in call.redirects:
        found.add(call.where(target))
    return found


def _printed(walk: Analysis, call: Call) -> str:
    stdin = call.stdin or ""
    if call.name in FETCHERS:
        return NET
    if call.name in PASSES:
        files = [each for each in call.words[1:] if not each.startswith("-")] if call.name == "cat" else []
        if not files:
            return stdin
        return "".join(stdin if each == "/dev/stdin" else walk.read(each) for each in files)
    prints = PRINTS.get(call.name)
    if prints is not None and not (call.name == "tr" and PROCESS in stdin):
        text = prints(list(call.words[1:]) if call.name == "tr" else _texts(call), stdin)
        if text is not None:
            return text
    sources = [stdin, *(walk.read(each) for each in call.words[1:])]
    return NET if any(NET in each for each in sources) else HOLE


def _texts(call: Call) -> list[str]:
    from goclaw.security.shell.text import plain

    return [plain(each) for each in call.words[1:]]


__all__ = ["FILE", "run"]
