"""The living tree, for operators. Contract: edge-http.md §26, supervision.md §15."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from goclaw.domain.access import Role
from goclaw.domain.errors import Rejected, invalid, not_found
from goclaw.operations.context import Context
from goclaw.operations.operation import Cli, Http, Rpc, operation
from goclaw.runtime import tree
from goclaw.runtime.address import Address

Depth = Annotated[int, Meta(ge=0, le=16)]


class GetTree(Struct, kw_only=True):
    path: str = "/"
    depth: Depth = 3


class GetActor(Struct, kw_only=True):
    path: str
    depth: Depth = 1


def tree_for_socket(found: dict[str, Any]) -> dict[str, Any]:
    return {**found, "generatedAt": found["generated_at"], "nodeId": found["node_id"]}


@operation(Rpc("actors.tree", Role.OPERATOR, reply=tree_for_socket), Http("GET /v1/actors", Role.OPERATOR), Cli("tree"))
async def get_tree(ctx: Context, ask: GetTree) -> dict[str, Any]:
    """Show the actors below a path, `depth` levels deep, and totals over all of them."""
    return {
        "root": await _node(ctx, ask.path, ask.depth),
        "generated_at": ctx.now(),
        "node_id": ctx.house.node_id,
        "totals": await tree.totals(ctx.system),
    }


@operation(Rpc("actors.get", Role.OPERATOR), Http("GET /v1/actors/{path...}", Role.OPERATOR))
async def get_actor(ctx: Context, ask: GetActor) -> dict[str, Any]:
    """Show one actor."""
    return await _node(ctx, ask.path if ask.path.startswith("/") else f"/{ask.path}", ask.depth)


async def _node(ctx: Context, path: str, depth: int) -> dict[str, Any]:
    try:
        address = Address.parse(path)
    except ValueError as error:
        raise Rejected(invalid("path", str(error))) from None
    node = await tree.describe(ctx.system, address, depth)
    if node is None:
        raise Rejected(not_found("actor", path))
    return _stamped(node, ctx.house.node_id)


def _stamped(node: dict[str, Any], node_id: str) -> dict[str, Any]:
    node["path"] = str(node["path"])  # an address is no plain text to the encoder
    node["node_id"] = node_id
    for child in node.get("children", ()):
        _stamped(child, node_id)
    return node
