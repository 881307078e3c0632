"""What happens to actors, for those who asked to hear of it. Contract: edge-websocket.md §8.4, edge-http.md §26."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from goclaw.domain.access import Role
from goclaw.domain.errors import Rejected, failed_precondition, invalid
from goclaw.operations.actor_sight import Sight
from goclaw.operations.context import Context
from goclaw.operations.operation import Rpc, operation
from goclaw.runtime.cell import Cell
from goclaw.runtime.news import ActorNews, ActorSlow, DeadLettersRising, LifeNews, MailboxFilling

Kind = Literal["io", "blocking", "process", "supervisor"]
TYPES = (
    "actor.started",
    "actor.stopped",
    "actor.crashed",
    "actor.restarted",
    "actor.quarantined",
    "actor.escalated",
    "actor.mailbox",
    "actor.slow",
    "actor.deadletters",
)
FILTER = 1024  # characters of a path, as an address has


class FollowActors(Struct, kw_only=True):
    """`types` is a list, or names with commas between them; none means all."""

    path: Annotated[str, Meta(max_length=FILTER)] = "/"
    kind: Kind | None = None
    types: str | list[str] = ""


class Subscribe(FollowActors, kw_only=True):
    action: Literal["start", "stop"]


class Follow:
    """Which news a listener wants, and how they are told to it."""

    def __init__(self, ctx: Context, ask: FollowActors) -> None:
        """Refuses a type that does not exist."""
        if not ask.path.startswith("/"):
            raise Rejected(invalid("path", "an address starts with '/'"))
        named = ask.types.split(",") if isinstance(ask.types, str) else ask.types
        wanted = {name.strip() for name in named} - {""}
        if unknown := sorted(wanted - set(TYPES)):
            raise Rejected(invalid("types", f"unknown type: {unknown[0][:100]}"))
        self._types = wanted
        self._path = ask.path.rstrip("/")
        self._kind = ask.kind
        self._system = ctx.system
        self._sight = Sight(ctx)
        self._node_id = ctx.house.node_id

    def payload(self, news: ActorNews) -> dict[str, Any] | None:
        """The event's payload for this listener; None if it did not ask for it."""
        if self._types and news.event not in self._types:
            return None
        path = getattr(news, "path", None)
        if path is None:
            told = _payload(news) if not self._path and self._kind is None else None
        else:
            shown = self._sight.name(path)
            if not f"{shown}/".startswith(f"{self._path}/") or self._kind not in (None, self._kind_of(news, path)):
                return None
            told = _payload(news)
            if shown != path:
                told |= {"path": shown, "redacted": True}
                for member in ("error", "by"):
                    told.pop(member, None)
        return None if told is None else {**told, "at": news.at, "node_id": self._node_id}

    def _kind_of(self, news: ActorNews, path: str) -> str | None:
        if isinstance(news, LifeNews):
            return news.kind
        member = self._system.members.get(path)
        return member.kind if isinstance(member, Cell) else None


def _payload(news: ActorNews) -> dict[str, Any]:
    match news:
        case LifeNews():
            return _life(news)
        case MailboxFilling():
            return {"path": str(news.path), "depth": news.depth, "capacity": news.capacity, "dropped": news.dropped}
        case ActorSlow():
            slow = {"path": str(news.path), "class": news.of_class}
            return slow | {"message_type": news.message_type, "age_ms": news.age_ms}
        case DeadLettersRising():
            return {"reason": news.reason, "rate": round(news.rate, 1), "top_type": news.top_type}
    raise TypeError(f"{type(news).__name__} is no news that anybody is told")


def _life(news: LifeNews) -> dict[str, Any]:
    crash = news.crash
    told: dict[str, Any] = {
        "path": str(news.path),
        "kind": news.kind,
        "class": news.of_class,
        "incarnation": news.incarnation,
        "reason": news.reason,
        "error": crash and {"type": crash.type, "message": crash.message, "fingerprint": crash.fingerprint},
        "restartsWindow": news.restarts_window,
        "backoffMs": news.backoff_ms,
        "by": news.by,
    }
    return {name: value for name, value in told.items() if value not in ("", None)}


@operation(Rpc("actors.subscribe", Role.OPERATOR))
async def subscribe(ctx: Context, ask: Subscribe) -> dict[str, str]:
    """Hear of actors at and below a path as events `actor.*`, or no longer. A second start replaces the first."""
    guest = ctx.house.connections.get(ctx.connection_id)
    if guest is None:
        raise Rejected(failed_precondition("no_connection"))
    guest.follow(Follow(ctx, ask) if ask.action == "start" else None)
    return {"status": "subscribed" if ask.action == "start" else "unsubscribed"}
