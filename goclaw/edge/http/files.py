"""GET /v1/files/…: files of agents' workspaces, for whoever holds a link or may see them. Contract: edge-http.md §19.

`{agent}/{owner's directory, or -}/{path there}`. The workspace is the root of the walk, so that no link in it leads
to somebody else's files; and it is walked for every request, since what lies there changes.
"""

from __future__ import annotations

import mimetypes
import os
import re
from collections.abc import AsyncGenerator
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

import trio
from quart import Response

from goclaw.domain.access import Caller, Role
from goclaw.domain.errors import Err, Rejected, invalid, not_found, unauthorized
from goclaw.edge.http.request import Call, Raw
from goclaw.edge.http.sse import Stream
from goclaw.operations.files import Place, place_for, place_of_link
from goclaw.security.links import ROUTE as BELOW
from goclaw.security.paths import PathRefused

PIECE = 256 * 1024  # bytes read at a time
ACTIVE = re.compile(r"(text/html|application/(xhtml\+xml|pdf|xml)|text/xml|image/svg\+xml|.*\+xml)\Z")
SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
RANGE = re.compile(r"bytes=(?P<first>[0-9]{0,18})-(?P<last>[0-9]{0,18})\Z", re.ASCII)
SIGNED = re.compile(r"(/v1/files/)~[^/]*")
YES = ("1", "true", "yes", "on", "")


class Found(NamedTuple):
    size: int
    changed: int  # ns
    inode: int

    @property
    def etag(self) -> str:
        return f'"{self.size:x}-{self.changed:x}-{self.inode:x}"'


async def serve(call: Call, caller: Caller) -> Response:
    """Serve a file of a workspace. A signed link needs no credential."""
    signed, segments = _asked(call)
    name = "/".join(segments)
    token = signed or call.request.args.get("ft", "")
    if call.bare and "token" not in call.request.args and token:
        if not call.house.links.opens(token, name, call.now):
            raise Rejected(unauthorized("bad_credential"))
        place = await place_of_link(call.context(caller), segments)
    else:
        caller = call.caller(Role.VIEWER, call.request.args.get("token"))
        place = await place_for(call.context(caller), segments)
    try:
        found = await trio.to_thread.run_sync(_look, place)
    except (OSError, PathRefused):
        raise Rejected(not_found("file", name[:200])) from None
    headers = _headers(call, place.path, found)
    if found.etag in call.request.headers.get("If-None-Match", ""):
        return Response(b"", 304, headers)
    part = _part(call.request.headers.get("Range", ""), found.size)
    if part is None:
        return Response(b"", 416, {**headers, "Content-Range": f"bytes */{found.size}"})
    first, last = part
    status = 200 if last - first + 1 == found.size else 206
    if status == 206:
        headers["Content-Range"] = f"bytes {first}-{last}/{found.size}"
    headers["Content-Length"] = str(last - first + 1)
    if call.request.method == "HEAD":
        return Response(b"", status, headers)
    return Response(Stream(_pieces(place, found, first, last), lambda: None), status, headers)


def plain(path: str) -> str:
    """A path as it may be logged: without the signature in it (edge-auth.md §2.1)."""
    return SIGNED.sub(r"\1~", path)


def _asked(call: Call) -> tuple[str, list[str]]:
    """The signature of a link, and the name in its parts, each decoded once. Raises `Rejected`."""
    parts = call.path.removeprefix(BELOW).split("/")
    signed = parts.pop(0)[1:] if parts[0].startswith("~") else ""
    try:
        segments = [unquote_to_bytes(part).decode() for part in parts]
    except UnicodeDecodeError:
        raise Rejected(_traversal()) from None
    for segment in segments:
        if segment in ("", ".", "..") or any(sign in segment for sign in "/\\\0") or "%2e" in segment.lower():
            raise Rejected(_traversal())
    return signed, segments


def _traversal() -> Err:
    return invalid("path", "security.storage_traversal")


def _look(place: Place) -> Found:
    with place.workspace.open(place.path) as file:
        stat = os.fstat(file)
    return Found(stat.st_size, stat.st_mtime_ns, stat.st_ino)


def _read(place: Place, found: Found, at: int, most: int) -> bytes:
    """Nothing if it is another file by now."""
    try:
        with place.workspace.open(place.path) as file:
            same = os.fstat(file).st_ino == found.inode
            return os.pread(file, most, at) if same else b""
    except (OSError, PathRefused):
        return b""


async def _pieces(place: Place, found: Found, first: int, last: int) -> AsyncGenerator[bytes, None]:
    """Opened for every piece: nothing is held for a client that does not read."""
    while first <= last:
        piece = await trio.to_thread.run_sync(_read, place, found, first, min(PIECE, last - first + 1))
        if not piece:
            raise OSError("the file changed while it was sent")
        first += len(piece)
        yield piece


def _part(asked: str, size: int) -> tuple[int, int] | None:
    """The first and the last byte to send; None if there are none such. What is no single range means all of it."""
    whole = 0, size - 1
    found = RANGE.match(asked)
    if found is None or not (found["first"] or found["last"]):
        return whole
    if not found["first"]:
        count = int(found["last"])
        return (max(0, size - count), size - 1) if count and size else None
    first = int(found["first"])
    last = min(int(found["last"]), size - 1) if found["last"] else size - 1
    if found["last"] and int(found["last"]) < first:
        return whole
    return (first, last) if first < size else None


def _headers(call: Call, path: str, found: Found) -> dict[str, str]:
    name = path.rpartition("/")[2]
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    args = call.request.args
    active, inline = ACTIVE.match(kind) is not None, args.get("inline", "0").lower() in YES
    attached = args.get("download", "0").lower() in YES or (active and not inline)
    headers = {
        "Content-Type": f"{kind}; charset=utf-8" if kind.startswith("text/") else kind,
        "Content-Disposition": f"{'attachment' if attached else 'inline'}; filename*=UTF-8''{quote(name, safe='')}",
        "ETag": found.etag,
        "Cache-Control": "private, max-age=300",
        "Accept-Ranges": "bytes",
        "Referrer-Policy": "no-referrer",
    }
    return {**headers, "Content-Security-Policy": SANDBOX} if active else headers


ROUTE = Raw("GET /v1/files/{path...}", Role.ANYONE, serve)
