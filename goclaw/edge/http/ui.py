"""The dashboard's files: read once at start, named by their content, sent with a strict policy.

Contract: dashboard.md §2.2 (serving) and §17.1 (policy). Public: there is no data in them.
"""

from __future__ import annotations

import gzip
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import NamedTuple

FILES = Path(__file__).parent.parent / "ui"

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
IMMUTABLE = "public, max-age=31536000, immutable"  # the path names the content
POLICY = (
    "default-src 'none'; script-src 'self' 'sha256-{}'; style-src 'self'; img-src 'self' data: blob:; "
    "font-src 'self'; media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types goclaw-md dompurify"
)  # dashboard.md §17.1

Headers = list[tuple[str, str]]
Answer = tuple[int, Headers, bytes]


class Asset(NamedTuple):
    headers: tuple[tuple[str, str], ...]
    body: bytes
    packed: bytes | None  # gzip; None when it would not be smaller


class UiFiles:
    """Everything under `base`, held in memory. Only files found at start exist, so no path can leave the tree.

    Raises OSError or KeyError when a file cannot be read or has a type not in `TYPES`: the start fails, not a page.
    """

    def __init__(self, version: str, base: str = "/ui/", files: Path = FILES) -> None:
        assert base.startswith("/")
        assert base.endswith("/")
        found = {p.relative_to(files).as_posix(): p.read_bytes() for p in sorted(files.rglob("*")) if p.is_file()}
        self.base = base
        self.tree_hash = _tree_hash(found.items())
        self.assets_at = f"{base}a/{self.tree_hash}/"
        page = self._page(found.pop("index.html").decode(), found, version)
        self._policy = POLICY.format(_import_map_hash(page))
        self._etag = f'"{sha256(page).hexdigest()[:24]}"'
        self._index = self._asset("index.html", page, ("Cache-Control", "no-cache"), ("ETag", self._etag))
        self._assets = {
            self.assets_at + name: self._asset(name, body, ("Cache-Control", IMMUTABLE)) for name, body in found.items()
        }

    def answer(self, path: str, headers: Mapping[str, str]) -> Answer:
        """Status, headers and body for a GET of `path` (raw, no query). `headers` finds names in lower case.

        A path without a file extension is a page of the application and gets the index; an unknown file is a 404.
        """
        asset = self._assets.get(path)
        if asset is None and self._is_page(path):
            if self._etag in headers.get("if-none-match", ""):
                return 304, [h for h in self._index.headers if h[0] != "Content-Type"], b""
            asset = self._index
        if asset is None:
            return 404, [("Content-Type", "text/plain; charset=utf-8"), *self._guards()], b"not found\n"
        if asset.packed is not None and _takes_gzip(headers.get("accept-encoding", "")):
            return 200, [*asset.headers, ("Content-Encoding", "gzip")], asset.packed
        return 200, list(asset.headers), asset.body

    def _is_page(self, path: str) -> bool:
        if not path.startswith(self.base) or path.startswith(f"{self.base}a/"):
            return False
        return path == f"{self.base}index.html" or not PurePosixPath(path).suffix

    def _page(self, template: str, found: Iterable[str], version: str) -> bytes:
        modules = [name for name in found if name.endswith(".mjs")]
        preload = "\n  ".join(f'<link rel="modulepreload" href="{self.assets_at}{name}">' for name in modules)
        words = {"assets": self.assets_at, "base": self.base, "version": version, "preload": preload}
        return re.sub(r"\{(assets|base|version|preload)\}", lambda m: words[m[1]], template).encode()

    def _asset(self, name: str, body: bytes, *own: tuple[str, str]) -> Asset:
        packed = gzip.compress(body, mtime=0)
        headers = (
            ("Content-Type", TYPES[PurePosixPath(name).suffix]),
            *own,
            ("Vary", "Accept-Encoding"),
            *self._guards(),
        )
        return Asset(headers, body, packed if len(packed) < len(body) else None)

    def _guards(self) -> Headers:
        return [
            ("Content-Security-Policy", self._policy),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("Referrer-Policy", "no-referrer"),
            ("Permissions-Policy", "camera=(), geolocation=(), microphone=(self)"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
        ]


def _tree_hash(found: Iterable[tuple[str, bytes]]) -> str:
    """12 hex digits over names and contents; `found` must be sorted."""
    digest = sha256()
    for name, body in found:
        digest.update(f"{name}\0{len(body)}\0".encode())
        digest.update(body)
    return digest.hexdigest()[:12]


def _import_map_hash(page: bytes) -> str:
    """Base64 SHA-256 of the inline import map, the only inline script the policy lets run."""
    found = re.search(rb'<script type="importmap">(.*?)</script>', page, re.DOTALL)
    assert found, "index.html has no import map"
    return b64encode(sha256(found[1]).digest()).decode()


def _takes_gzip(accept: str) -> bool:
    return any(re.fullmatch(r"\s*(gzip|\*)\s*(;\s*q=(1|0\.0*[1-9]).*)?", part) for part in accept.lower().split(","))
