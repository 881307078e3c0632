"""Miners, and the pools they talk to."""

from __future__ import annotations

import re

from goclaw.security.shell import paths
from goclaw.security.shell.call import Call

MINER = (
    r"(?:xmrig|cpuminer|minerd|cgminer|bfgminer|ethminer|nbminer|t-rex|phoenixminer|lolminer|gminer|claymore|nanominer|"
    r"teamredminer)"
)
NAME = re.compile(rf"{MINER}(?:[-_.\d].*)?")
POOL = re.compile(r"stratum\+?(?:tcp|ssl|tls|udp)?\d*\+?(?:tcp|ssl|tls|udp)?://", re.IGNORECASE)
FETCHED = re.compile(rf"(?:^|[/:]){MINER}(?:[-_.:@\d][^/]*)?(?:$|/)", re.IGNORECASE)
FETCHERS = frozenset({"curl", "wget", "git", "docker", "podman", "nerdctl", "aria2c", "gh"})


def refuse(call: Call) -> str | None:
    if NAME.fullmatch(call.name) and not call.name.endswith((".md", ".txt", ".py")):
        return "miner"
    if call.name in paths.TEXTS:
        return None
    skipped = paths.texts_only(call)
    words = [each for each in call.args if each not in skipped]
    if any(POOL.search(each) and "+" in each for each in words):
        return "pool"
    if call.name not in FETCHERS or (
        call.name == "git" and not {"clone", "submodule", "fetch", "pull", "remote"} & set(words)
    ):
        return None
    sources = [each for each in words if "://" in each or call.name not in ("curl", "wget")]
    return "miner" if any(map(FETCHED.search, sources)) else None
