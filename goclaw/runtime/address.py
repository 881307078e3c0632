"""Where an actor lives: a path such as `/sessions/acme/agent:main:cli:notes`."""

from __future__ import annotations

from urllib.parse import quote

SAFE = ":@~"  # besides letters, digits, and _.- ; everything else is percent-encoded
SEGMENT = 500  # bytes; supervision.md §2.1
PATH = 1024  # bytes
DEPTH = 16


class Address(str):
    """A path in the tree, byte-exact. `Address("sessions", tenant, key)` encodes each segment once.

    Raises ValueError for an empty, `.` or `..` segment and for more than 500 bytes a segment,
    1,024 bytes or 16 segments in all (supervision.md §2.1).
    """

    __slots__ = ()

    def __new__(cls, *segments: str) -> Address:
        if segments == ("",):
            raise ValueError("an empty segment is not the root")
        return cls.parse("/" + "/".join(quote(segment, safe=SAFE) for segment in segments))

    @classmethod
    def parse(cls, path: str) -> Address:
        """Take a path whose segments are encoded already."""
        if not path.startswith("/"):
            raise ValueError(f"an address starts with '/': {path!r}")
        segments = path[1:].split("/") if path != "/" else []
        if len(path) > PATH or len(segments) > DEPTH:
            raise ValueError(f"address too long: {path[:80]!r}…")
        for segment in segments:
            if segment in ("", ".", "..") or len(segment) > SEGMENT:
                raise ValueError(f"bad segment {segment[:80]!r} in address {path[:80]!r}")
        return str.__new__(cls, path)

    def __truediv__(self, segment: str) -> Address:
        below = quote(segment, safe=SAFE)
        return Address.parse(f"{self}{below}" if self == "/" else f"{self}/{below}")

    @property
    def name(self) -> str:
        """The last segment, as encoded."""
        return self.rpartition("/")[2]
