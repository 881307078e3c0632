"""Which handler answers a path. Matched on the raw path, each captured part decoded once (edge-http.md §0.1)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar
from urllib.parse import unquote

from goclaw.domain.errors import Err, Rejected

T = TypeVar("T")


class Router(Generic[T]):
    """Routes such as `GET /v1/agents/{id}`; a part `{path...}` takes the rest, slashes included, but for
    what follows it in the route.

    The rest stays as it was sent: only there `%2F` and `/` still differ, and whoever takes it apart decodes.
    """

    def __init__(self, routes: Iterable[tuple[str, T]]) -> None:
        self._routes: list[tuple[str, tuple[str, ...], T]] = []
        for route, target in routes:
            verb, _, path = route.partition(" ")
            self._routes.append((verb, tuple(path.split("/")), target))
        # literal parts win over captured ones, a captured part wins over the rest of a path
        self._routes.sort(key=lambda row: [(part.endswith("...}"), part.startswith("{")) for part in row[1]])

    def find(self, verb: str, raw_path: str) -> tuple[T, dict[str, str]]:
        """The target and its path parameters. Raises `Rejected`: no such route, or not with this verb."""
        parts = tuple(raw_path.split("/"))
        allowed: set[str] = set()
        for known, pattern, target in self._routes:
            found = _match(pattern, parts)
            if found is None:
                continue
            if known == verb:
                return target, found
            allowed |= {known, "HEAD"} if known == "GET" else {known}
        if allowed:
            details = {"reason": "wrong_verb", "path": raw_path, "verb": verb, "allow": ", ".join(sorted(allowed))}
            raise Rejected(Err("INVALID_REQUEST", "wrong_verb", details))
        raise Rejected(Err("NOT_FOUND", "unknown_route", {"reason": "unknown_route", "path": raw_path}))


def _match(pattern: tuple[str, ...], parts: tuple[str, ...]) -> dict[str, str] | None:
    found: dict[str, str] = {}
    for place, expected in enumerate(pattern):
        if expected.endswith("...}"):
            behind = pattern[place + 1 :]
            rest = parts[place : len(parts) - len(behind)]
            if not any(rest) or parts[len(parts) - len(behind) :] != behind:
                return None
            found[expected[1:-4]] = "/".join(rest)
            return found
        if place >= len(parts):
            return None
        if expected.startswith("{"):
            if not parts[place]:
                return None
            found[expected[1:-1]] = unquote(parts[place])
        elif expected != parts[place]:
            return None
    return found if len(pattern) == len(parts) else None
