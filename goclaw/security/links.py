"""Links that open one file for a while, for tags that cannot send a credential.

The token is `<epoch second of its end>.<base64url HMAC-SHA256>`, over the end and the file's name, and stands before
the name, so that a link ends in the name of the file. Contract: edge-auth.md §1, §2.1; edge-http.md §19.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from urllib.parse import quote

ROUTE = "/v1/files/"
LIFE = 3600  # seconds; edge-http.md §19
TOKEN = re.compile(r"(?P<end>[1-9][0-9]{0,11})\.(?P<mac>[A-Za-z0-9_-]{43})", re.ASCII)


class Links:
    """`name` is the path of a file as the route has it, decoded."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def to(self, name: str, now: float, life: int = LIFE) -> str:
        """The address of a file, good for half of `life` at least. It changes only so often, for the caches' sake."""
        half = life // 2
        end = int(now) // half * half + life
        return f"{ROUTE}~{end}.{self._mac(end, name)}/{quote(name, safe='/')}"

    def opens(self, token: str, name: str, now: float) -> bool:
        found = TOKEN.fullmatch(token)
        if found is None or int(found["end"]) <= now:
            return False
        return hmac.compare_digest(self._mac(int(found["end"]), name), found["mac"])

    def _mac(self, end: int, name: str) -> str:
        digest = hmac.digest(self._key, f"{end}\n{name}".encode("utf-8", "surrogatepass"), "sha256")
        return urlsafe_b64encode(digest).decode().rstrip("=")
