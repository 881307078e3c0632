"""The living tree, for operators: looking. Contract: edge-http.md §26, supervision.md §15, §16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import quote, unquote

from msgspec import Meta, Struct, field

from goclaw.domain.access import Role
from goclaw.domain.errors import Rejected, gone, invalid, not_found
from goclaw.operations.actor_events import Kind
from goclaw.operations.actor_sight import Sight
from goclaw.operations.context import Context
from goclaw.operations.operation import Cli, Http, Rpc, operation
from goclaw.runtime import tree
from goclaw.runtime.address import SAFE, Address
from goclaw.runtime.crash import LETTERS
from goclaw.runtime.system import Member

Depth = Annotated[int, Meta(ge=1, le=16)]
Path = Annotated[str, Meta(max_length=3072)]  # of an address every character of which is percent-encoded once more
Name = Annotated[str, Meta(max_length=200)]
Offset = Annotated[int, Meta(ge=0, le=1_000_000_000)]
ActorState = Literal["starting", "running", "backoff", "quarantined", "suspended", "stopping", "stopped"]


class GetTree(Struct, kw_only=True):
    """`sort`, `limit` and `offset` are for the flat format; it lists those first that lead in `sort`."""

    ALIASES: ClassVar = {"of_class": "class"}

    path: Path = "/"
    depth: Depth = 3
    kind: Kind | None = None
    of_class: Name | None = field(name="class", default=None)
    state: ActorState | None = None
    min_restarts: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0
    text: Annotated[str, Meta(max_length=1024)] | None = None
    fields: Literal["live"] | None = None
    format: Literal["tree", "flat"] = "tree"
    sort: Literal["mailbox", "wait", "handle", "in_hand", "restarts"] | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 50
    offset: Offset = 0


class Known(tree.Filter, frozen=True, kw_only=True):
    """A text finds nobody whose path the caller may not know."""

    sees: Callable[[str], bool]

    def fits(self, member: Member) -> bool:
        return tree.Filter.fits(self, member) and (self.text is None or self.sees(member.address))


class GetActor(Struct, kw_only=True):
    path: Path
    depth: Depth = 1


class ListLetters(Struct, kw_only=True):
    reason: Annotated[str, Meta(max_length=40)] | None = None
    limit: Annotated[int, Meta(ge=1, le=LETTERS)] = 100
    offset: Offset = 0


def tree_for_socket(found: dict[str, Any]) -> dict[str, Any]:
    return {**found, "generatedAt": found["generated_at"], "nodeId": found["node_id"]} if "root" in found else found


@operation(Rpc("actors.tree", Role.OPERATOR, reply=tree_for_socket), Http("GET /v1/actors", Role.OPERATOR), Cli("tree"))
async def get_tree(ctx: Context, ask: GetTree) -> dict[str, Any]:
    """Show the actors below a path, `depth` levels deep, and totals over all of them."""
    wanted = Known(
        kind=ask.kind,
        of_class=ask.of_class,
        state=ask.state,
        min_restarts=ask.min_restarts,
        text=ask.text,
        sees=Sight(ctx).sees,
    )
    if ask.format == "flat":
        return await _flat(ctx, ask, wanted)
    if ask.sort is not None:
        raise Rejected(invalid("sort", "only for the flat format"))
    return {
        "root": await _node(ctx, ask.path, ask.depth, wanted, live=ask.fields == "live"),
        "generated_at": ctx.now(),
        "node_id": ctx.house.node_id,
        "totals": await tree.totals(ctx.system),
    }


@operation(Rpc("actors.get", Role.OPERATOR), Http("GET /v1/actors/{path...}", Role.OPERATOR), Cli("actors get"))
async def get_actor(ctx: Context, ask: GetActor) -> dict[str, Any]:
    """Show one actor, and what it says about itself."""
    return await _node(ctx, ask.path, ask.depth)


@operation(Http("GET /v1/actors/deadletters", Role.OPERATOR))
async def dead_letters(ctx: Context, ask: ListLetters) -> dict[str, Any]:
    """List messages that reached nobody, newest first, and how many there were by reason and type."""
    letters, sight = ctx.system.dead_letters, Sight(ctx)
    found = [letter for letter in reversed(letters.records) if ask.reason in (None, letter.reason)]
    page = [
        {
            "seq": letter.seq,
            "at": letter.at,
            "to": sight.name(letter.to),
            "from": sight.name(letter.sender) if letter.sender else None,
            "type": letter.type,
            "reason": letter.reason,
            "size": letter.size,
            "trace_id": None,
        }
        for letter in found[ask.offset : ask.offset + ask.limit]
    ]
    counters = [
        {"reason": reason, "type": kind, "count": count} for (reason, kind), count in letters.counters.most_common()
    ]
    paging = {"total": len(found), "limit": ask.limit, "offset": ask.offset}
    return {"deadletters": page, "counters": counters, "count": letters.total, **paging}


def address_of(path: str) -> Address:
    """What a client means by a path: an address, or what follows /v1/actors/ in a URL. Refuses what cannot be one."""
    try:
        if path.startswith("/"):
            return Address.parse(path)
        return Address.parse("".join(f"/{_segment(unquote(part))}" for part in path.split("/")))
    except ValueError as error:
        raise Rejected(invalid("path", str(error))) from None


def _segment(text: str) -> str:
    """A segment as addresses spell it; it may come spelt so, or plain."""
    spelt = quote(unquote(text), safe=SAFE)
    return spelt if spelt == text else quote(text, safe=SAFE)


def unknown(ctx: Context, address: Address) -> Rejected:
    """Nobody lives there: nobody ever did, or somebody has ended lately."""
    last = ctx.house.bulletin.last_incarnation(address)
    if last is not None and Sight(ctx).sees(address):
        return Rejected(gone("actor", str(address), last_incarnation=last))
    return Rejected(not_found("actor", str(address)))


async def _node(
    ctx: Context, path: str, depth: int, wanted: tree.Filter = tree.EVERYBODY, *, live: bool = False
) -> dict[str, Any]:
    address, sight = address_of(path), Sight(ctx)
    node = await tree.describe(ctx.system, address, depth, wanted, live=live) if sight.sees(address) else None
    if node is None:
        raise unknown(ctx, address)
    return await sight.show(node)


async def _flat(ctx: Context, ask: GetTree, wanted: tree.Filter) -> dict[str, Any]:
    address, sight = address_of(ask.path), Sight(ctx)
    if address not in ctx.system.members or not sight.sees(address):
        raise unknown(ctx, address)
    paging = {"limit": ask.limit, "offset": ask.offset}
    live = ask.fields == "live"
    page, total = await tree.flat(ctx.system, address, wanted, sort=ask.sort, live=live, **paging)
    return {"actors": [await sight.show(node) for node in page], "total": total, **paging}
