"""The key that secrets of the database are sealed with: of the environment, else made on the first start.

Contract: providers.md §3 P3.5, security.md §8.1.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path

from goclaw.domain.errors import StartupFatal
from goclaw.security.box import Box, NotAKey, key_of
from goclaw.settings.onboard import write_private

FILE = "encryption.key"  # in the data directory


def open_box(given: str, former: Iterable[str], data_dir: Path) -> tuple[Box, tuple[str, ...]]:
    """The box, and warnings. Without `given` the key of the data directory, which is made if there is none.

    Raises StartupFatal for a key that is none. Where no key can be kept the box seals nothing: what is sealed with a
    key that the next start does not have is lost.
    """
    olds = [_key(text, "GOCLAW_ENCRYPTION_KEY_OLD") for text in former]
    file = data_dir / FILE
    if given:
        return Box(_key(given, "GOCLAW_ENCRYPTION_KEY"), [*olds, *_kept(file)]), ()
    try:
        if file.exists():
            return Box(_key(file.read_text(), str(file)), olds), ()
        text = secrets.token_hex(32)
        write_private(file, text + "\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        return Box(None, olds), (f"there is no encryption key, so no secret can be stored: {file}: {why}",)
    said = f"secrets of the database are sealed with a new key, {file}: keep a copy, or set GOCLAW_ENCRYPTION_KEY"
    return Box(_key(text, str(file)), olds), (said,)


def _kept(file: Path) -> list[bytes]:
    """The key of earlier starts, which had none in the environment; it still opens what it sealed."""
    try:
        return [key_of(file.read_text())]
    except (OSError, UnicodeDecodeError, NotAKey):
        return []


def _key(text: str, where: str) -> bytes:
    try:
        return key_of(text)
    except NotAKey as error:
        raise StartupFatal("E_ENCRYPTION_KEY", f"{where}: {error}", "make one: openssl rand -hex 32") from None
