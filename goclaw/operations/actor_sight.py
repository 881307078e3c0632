"""What a caller may know of which actor. Contract: edge-http.md §26 (Tenancy).

Owners of the installation see all. Others see their own tenant's actors, and only admins those of other users.
Who may not know an actor sees that there is one, under a name that stays the same and says nothing.
"""

from __future__ import annotations

import hmac
from typing import Any
from urllib.parse import unquote

import msgspec
import trio

from goclaw.operations.context import Context

HIDDEN = ("snapshot", "last_error", "last_crash", "in_hand")
TRACED = ("last_error", "last_crash")
AT_ONCE = 100  # nodes between two checkpoints

_encode = msgspec.json.Encoder().encode


def of_one_tenant(path: str) -> bool:
    """Whether what lives at `path` works for one tenant only. Others are told of everybody's work."""
    match path.split("/")[1:]:
        case ["agents" | "sessions", _, _, *_] | ["engine", "lanes", _, _, *_]:
            return True
    return False


class Sight:
    def __init__(self, ctx: Context) -> None:
        self._bulletin = ctx.house.bulletin
        self._caller = ctx.caller
        self._mask = ctx.house.mask
        self._node_id = ctx.house.node_id
        self._shown = 0

    @property
    def unlimited(self) -> bool:
        return self._caller.is_owner

    def sees(self, path: str) -> bool:
        """Whether the caller may know what lives at `path`. In doubt not."""
        if self._caller.is_owner:
            return True
        match path.split("/")[1:]:
            case ["agents", tenant, _, *_]:
                return unquote(tenant) == self._caller.tenant_id
            case ["sessions", tenant, _, *_]:
                return unquote(tenant) == self._caller.tenant_id and (self._caller.is_admin or self._owns(path, 3))
            case ["engine", "lanes", _, _, *_]:
                return self._owns(path, 4)
        return True

    def saw(self, path: str, tenant: str | None) -> bool:
        """As `sees`, of what is written down, perhaps by an earlier process, as `tenant`'s.

        Nobody remembers whose a run was but its tenant, so its own user knows it only as long as we do.
        """
        if path.startswith("/engine/lanes/") and of_one_tenant(path):
            return self.sees(path) or (self._caller.is_admin and tenant == self._caller.tenant_id)
        return self.sees(path)

    def name(self, path: str) -> str:
        """The path, or what stands for it."""
        return str(path) if self.sees(path) else self.mask(path)

    def mask(self, path: str) -> str:
        """What stands for a path the caller may not know."""
        above = "/engine/lanes/" + path.split("/")[3] if path.startswith("/engine/") else "/" + path.split("/")[1]
        return f"{above}/{self._name(path)}"

    async def show(self, node: dict[str, Any]) -> dict[str, Any]:
        """A described node as the caller may see it. Its children are JSON already: all at once would hold the loop."""
        if "children" in node:
            node["children"] = [msgspec.Raw(_encode(await self.show(child))) for child in node["children"]]
        self._show(node)
        self._shown += 1
        if self._shown % AT_ONCE == 0:
            await trio.lowlevel.checkpoint()
        return node

    def _show(self, node: dict[str, Any]) -> None:
        path = node["path"]
        node["node_id"] = self._node_id
        if not self.sees(path):
            node |= {"path": self.name(path), "name": self._name(path), "redacted": True}
            for member in HIDDEN:
                node.pop(member, None)
        elif not self._caller.is_admin:
            for member in TRACED:
                if node.get(member):
                    del node[member]["traceback"]

    def _owns(self, path: str, depth: int) -> bool:
        """The session or run `depth` segments down is the caller's, or of an admin's tenant."""
        tenant, user = self._bulletin.owner_of("/".join(path.split("/")[: depth + 1]))
        return tenant == self._caller.tenant_id and (self._caller.is_admin or user == self._caller.user_id)

    def _name(self, path: str) -> str:
        return "~" + hmac.digest(self._mask, path.encode(), "sha256").hex()[:8]
