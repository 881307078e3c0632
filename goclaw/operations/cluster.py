"""The gateways on this database: who lives, who owns what; leaving and moving. Contract: durability.md §15."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta, Struct

from goclaw.domain.access import Role
from goclaw.domain.cluster import MARKS, SHARDS, Marked
from goclaw.domain.errors import Rejected, failed_precondition, not_found
from goclaw.operations.activity import record, recorded
from goclaw.operations.context import Context
from goclaw.operations.gateway import Nothing
from goclaw.operations.operation import Cli, Http, Rpc, operation
from goclaw.stores import cluster as rows
from goclaw.stores import shards

DIGITS = r"^(25[0-5]|2[0-4]\d|1?\d?\d)$"  # a shard's number as it stands in a path


class GatewayNode(Struct, kw_only=True):
    """A living gateway. `lease` is in seconds, `shards` how many of 256 it owns."""

    node_id: str
    name: str
    url: str
    version: str
    incarnation: int
    started_at: datetime
    lease: float
    draining: bool
    capacity: int
    load: dict[str, Any]
    shards: int
    self: bool  # the one that answers


class ShardLease(Struct, kw_only=True, omit_defaults=True):
    shard: int
    node: str | None  # its name; None while nobody holds it
    fence: int
    moving_to: str | None = None


class NamedLease(Struct, kw_only=True):
    name: str
    node: str
    fence: int
    lease: float  # seconds; negative when it is over


class NodeList(Struct, kw_only=True):
    nodes: list[GatewayNode]


class ClusterView(Struct, kw_only=True):
    """`single`: the database is this gateway's own, so it owns everything without leases on shards."""

    single: bool
    nodes: list[GatewayNode]
    shards: list[ShardLease]
    leases: list[NamedLease]


class NodeName(Struct, kw_only=True):
    name: Annotated[str, Meta(min_length=1, max_length=100)]


class MoveShard(Struct, kw_only=True):
    n: Annotated[int, Meta(ge=0, lt=SHARDS)] | Annotated[str, Meta(pattern=DIGITS)]
    to: Annotated[str, Meta(min_length=1, max_length=100, description="name of the node that is to own it")]


class OnItsWay(Struct, kw_only=True):
    status: str = "accepted"


@operation(Rpc("cluster.get", Role.ADMIN), Http("GET /v1/cluster", Role.ADMIN), Cli("cluster show"))
async def get(ctx: Context, ask: Nothing) -> ClusterView:
    """Show the gateways on this database, their shards and their leases."""
    held = await ctx.db(shards.listed)
    living = await _nodes(ctx, held)
    names = {node.node_id: node.name for node in living}
    return ClusterView(
        single=ctx.house.ownership.alone,
        nodes=living,
        shards=[
            ShardLease(
                shard=row.shard,
                node=names.get(row.node_id or ""),
                fence=row.fence,
                moving_to=names.get(row.moving_to) if row.moving_to and row.moving_to != row.node_id else None,
            )
            for row in held
        ],
        leases=[
            NamedLease(name=row.name, node=names.get(row.node_id, row.node_id), fence=row.fence, lease=row.left)
            for row in await ctx.db(rows.names)
        ],
    )


@operation(Rpc("cluster.nodes", Role.ADMIN), Cli("cluster nodes"))
async def list_nodes(ctx: Context, ask: Nothing) -> NodeList:
    """List the living gateways on this database."""
    return NodeList(nodes=await _nodes(ctx, await ctx.db(shards.listed)))


@operation(
    Rpc("cluster.drain", Role.ADMIN),
    Http("POST /v1/cluster/nodes/{name}/drain", Role.ADMIN, status=202),
    Cli("cluster drain"),
)
@recorded
async def drain(ctx: Context, ask: NodeName) -> OnItsWay:
    """Let a gateway end its work and its process, as after SIGTERM. Others take over."""
    if not await ctx.db(rows.drain, name=ask.name):
        raise Rejected(not_found("node", ask.name))
    await record(ctx, "cluster.node_drained", "node", ask.name)
    ctx.system.publish(MARKS, Marked(kind="lease"))
    return OnItsWay()


@operation(
    Rpc("cluster.move", Role.ADMIN),
    Http("POST /v1/cluster/shards/{n}/move", Role.ADMIN, status=202),
    Cli("cluster move"),
)
@recorded
async def move(ctx: Context, ask: MoveShard) -> OnItsWay:
    """Let another gateway own a shard, as long as that one lives."""
    if ctx.house.ownership.alone:
        raise Rejected(failed_precondition("single_node"))
    if not await ctx.db(shards.send, shard=int(ask.n), to=ask.to):
        raise Rejected(not_found("node", ask.to))
    await record(ctx, "cluster.shard_moved", "shard", str(ask.n), to=ask.to)
    ctx.system.publish(MARKS, Marked(kind="lease"))
    return OnItsWay()


async def _nodes(ctx: Context, held: list[shards.ShardRow]) -> list[GatewayNode]:
    me = ctx.house
    owners = [row.node_id for row in held if not row.free]
    return [
        GatewayNode(
            node_id=row.node_id,
            name=row.name,
            url=row.url or "",
            version=row.version,
            incarnation=row.incarnation,
            started_at=row.started_at,
            lease=round(row.left, 1),
            draining=row.draining,
            capacity=row.capacity,
            load=row.load,
            shards=SHARDS if me.ownership.alone else owners.count(row.node_id),
            self=row.node_id == me.node_id,
        )
        for row in await ctx.db(rows.living)
    ]
