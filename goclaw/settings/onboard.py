"""First start: a gateway that nobody gave a token and a key makes them and keeps them. Contract: config-cli.md §9.3."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from msgspec.structs import replace

from goclaw.settings.load import KEY_FILE, TOKEN_FILE, Loaded
from goclaw.settings.section import Secret


def onboard(loaded: Loaded) -> Loaded:
    """Give the gateway a token unless it has one, or was told to have none (an empty one).

    The token (64 hex) goes to `auth.token` in GOCLAW_HOME, where every later `load` finds it; the answer is then
    another value than `loaded`. Where nothing can be written the token lasts for this run, with a warning.
    Call it with the instance lock held: two first starts would each make a token.
    """
    if loaded.origins["gateway.token"] != "default":
        return loaded
    token = secrets.token_hex(32)
    origin, warnings = TOKEN_FILE, loaded.warnings
    try:
        write_private(loaded.home / TOKEN_FILE, token + "\n")
    except OSError as error:
        origin = "memory"
        warnings += (
            f"the gateway token cannot be kept in {loaded.home}: {error.strerror}; the next start makes another",
        )
    gateway = replace(loaded.settings.gateway, token=Secret(token))
    return replace(
        loaded,
        settings=replace(loaded.settings, gateway=gateway),
        origins={**loaded.origins, "gateway.token": origin},
        warnings=warnings,
    )


def keep_key(loaded: Loaded) -> Loaded:
    """Give the gateway an encryption key unless it has one: 64 hex in `encryption.key` in the data directory.

    Where it cannot be kept there is none: whatever it sealed would be lost. The instance lock is held.
    """
    settings = loaded.settings
    if settings.encryption.key:
        return loaded
    place, key = settings.data_dir / KEY_FILE, secrets.token_hex(32)
    try:
        write_private(place, key + "\n")
    except OSError as error:
        text = f"the encryption key cannot be kept in {place}: {error.strerror}; secrets cannot be stored"
        return replace(loaded, warnings=(*loaded.warnings, text))
    return replace(
        loaded,
        settings=replace(settings, encryption=replace(settings.encryption, key=Secret(key))),
        origins={**loaded.origins, "encryption.key": KEY_FILE},
        warnings=(*loaded.warnings, f"{place} is the key to all secrets in the database: keep a copy elsewhere"),
    )


def write_private(path: Path, text: str) -> None:
    """Write a file only its owner may read (0600, directory 0700 when new): the whole text or nothing."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
