"""Files of an answer as clients get them: with a link each. Contract: edge-http.md §19, edge-websocket.md §8.2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from goclaw.domain.run import SentFile


class Linked(Protocol):
    """Makes links (`security.links`). `name` is that of a `SentFile`."""

    def to(self, name: str, now: float) -> str: ...


class Nowhere:
    """There is no route to files."""

    def to(self, name: str, now: float) -> str:
        return ""


UNLINKED = Nowhere()
KINDS = {"image": "image", "audio": "audio", "video": "video"}  # by the first half of a type; all others: documents


def shown(files: Sequence[SentFile], links: Linked, now: float) -> list[dict[str, Any]]:
    """Members of `media`. `path` is the link; of a file that no link reaches its name alone."""
    return [
        {
            "path": (links.to(file.name, now) if file.name else "") or file.path,
            "content_type": file.content_type,
            "size": file.size,
            **({"caption": file.caption} if file.caption else {}),
            **({"as_voice": True} if file.as_voice else {}),
        }
        for file in files
    ]


def references(files: Sequence[SentFile], links: Linked, now: float) -> list[dict[str, Any]]:
    """Members of a message's `media_refs` (edge-http.md §8)."""
    return [
        {
            "id": file.name or file.path,
            "mime_type": file.content_type,
            "kind": KINDS.get(file.content_type.partition("/")[0], "document"),
            "path": (links.to(file.name, now) if file.name else "") or file.path,
        }
        for file in files
    ]
