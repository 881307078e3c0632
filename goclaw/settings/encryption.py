"""The key that secrets in the database are sealed with. Contract: data-model.md §3, providers.md §2 (P3.5)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from goclaw.settings.section import Secret, Section


class Encryption(Section, frozen=True):
    """64 hex digits, 32 bytes in base64, or 32 ASCII characters. Never in the file; made at the first start."""

    key: Annotated[Secret, Meta(description="GOCLAW_ENCRYPTION_KEY only, never the file")] = Secret()
    old_keys: Annotated[Secret, Meta(description="GOCLAW_ENCRYPTION_KEY_OLD only: a comma list")] = Secret()

    @property
    def former(self) -> tuple[str, ...]:
        return tuple(key for text in self.old_keys.reveal().split(",") if (key := text.strip()))
