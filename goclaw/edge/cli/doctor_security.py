"""`goclaw doctor --security`: is what is safe by default still so? Contract: security.md §1.2."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from goclaw.edge.cli.doctor import Result
from goclaw.settings.gateway import is_loopback
from goclaw.settings.load import KEY_FILE, TOKEN_FILE, Loaded

SHORTEST = 16  # characters of a token
CONTAINERS = ("/.dockerenv", "/run/.containerenv")
SAMPLES = ("0" * 64, "0123456789abcdef" * 4, bytes(range(32)).hex())  # keys that anybody can look up


def examine(loaded: Loaded) -> list[Result]:
    """One result per check; FAIL is the contract's red, WARN its yellow."""
    results = []
    for name, red, look in CHECKS:
        found = "; ".join(look(loaded))
        results.append(Result(name, "FAIL" if red else "WARN", found) if found else Result(name, "PASS", "fine"))
    return results


def open_door(loaded: Loaded) -> Iterator[str]:
    gateway = loaded.settings.gateway
    if not gateway.token and not is_loopback(gateway.bind_host):
        yield f"listens on {gateway.bind_host} with an empty token: everybody who reaches it is admin"


def readable(loaded: Loaded) -> Iterator[str]:
    settings = loaded.settings
    kept = (loaded.home / TOKEN_FILE, settings.data_dir / KEY_FILE, settings.database.embedded.dir)
    for path in (loaded.path, loaded.path.parent / ".env.local", loaded.home, *kept):
        mode = _mode(path)
        if mode is not None and mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield f"{path} is open to others: chmod go-rwx {path}"


def sample_key(loaded: Loaded) -> Iterator[str]:
    encryption = loaded.settings.encryption
    if encryption.key.reveal().strip().lower() in SAMPLES:
        yield "the encryption key is one that is printed in examples"


def lost_key(loaded: Loaded) -> Iterator[str]:
    """Only a database that answers without the gateway can be asked."""
    if loaded.settings.encryption.key or loaded.settings.database.mode == "embedded":
        return
    from goclaw.domain.errors import StartupFatal
    from goclaw.edge.cli.migrate import sealed_rows

    try:
        if sealed_rows(loaded):
            yield "the database holds sealed secrets and there is no key: set GOCLAW_ENCRYPTION_KEY"
    except StartupFatal:
        return  # the check of the store says so


def short_token(loaded: Loaded) -> Iterator[str]:
    token = loaded.settings.gateway.token.reveal().strip()
    if token and len(token) < SHORTEST:
        yield f"the token has {len(token)} characters; {SHORTEST} are the least, 64 are usual"


def root(loaded: Loaded) -> Iterator[str]:
    if os.geteuid() == 0 and not any(Path(mark).exists() for mark in CONTAINERS):
        yield "runs as root outside of a container"


def open_policy(loaded: Loaded) -> Iterator[str]:
    path = loaded.settings.policy.file
    mode = _mode(path)
    if mode is not None and mode & (stat.S_IWGRP | stat.S_IWOTH):
        yield f"{path} can be written by others: chmod go-w {path}"


def any_origin(loaded: Loaded) -> Iterator[str]:
    gateway = loaded.settings.gateway
    if not gateway.allowed_origins and not is_loopback(gateway.bind_host):
        yield "listens beyond this machine and gateway.allowed_origins is empty: pages of the same origin only"


def plain_endpoints(loaded: Loaded) -> Iterator[str]:
    for name, row in loaded.settings.providers.named.items():
        base = urlsplit(row.api_base or "")
        if base.scheme == "http" and base.hostname and not is_loopback(base.hostname):
            yield f"providers.{name}.api_base sends keys and prompts unencrypted"


CHECKS: tuple[tuple[str, bool, Callable[[Loaded], Iterator[str]]], ...] = (
    ("open_door", True, open_door),
    ("readable_files", True, readable),
    ("lost_key", True, lost_key),
    ("sample_key", True, sample_key),
    ("short_token", True, short_token),
    ("root", True, root),
    ("open_policy", True, open_policy),
    ("any_origin", False, any_origin),
    ("plain_endpoints", False, plain_endpoints),
)


def _mode(path: Path) -> int | None:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None
