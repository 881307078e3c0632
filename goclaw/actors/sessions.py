"""One conversation: takes turns in, stops them, knows what runs and what waits.

Address   /sessions/{tenant}/{session key}
Contract  sessions-lanes-cron.md §3; edge-websocket.md §7.2; durability.md §3
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

import msgspec

from goclaw.actors.engine.intake import AGAIN, dropped, expectation, room_for
from goclaw.actors.engine.lane import Start
from goclaw.actors.engine.voice import Voice, said_in
from goclaw.domain.address import lane, run
from goclaw.domain.errors import Rejected, StoreError, exhausted, failed_precondition, not_found, unavailable
from goclaw.domain.events import SessionUpdated, body, of_admins, of_user
from goclaw.domain.ids import new_id
from goclaw.domain.run import KINDS, LANE_OF, GiveSlotBack, RunKind, RunQueued, RunResult, StopRun, TakeSlot
from goclaw.domain.session import (
    Abort,
    Aborted,
    Accepted,
    Activity,
    Earlier,
    GetActivity,
    Inject,
    Injected,
    RunEnded,
    RunLost,
    Send,
    parse_key,
)
from goclaw.domain.tokens import estimate
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.child import Limit
from goclaw.runtime.crashpoint import crash_point
from goclaw.runtime.faults import Err, RuntimeFault
from goclaw.runtime.message import Cancel, Message, Told
from goclaw.runtime.virtual import Virtual
from goclaw.settings.queue import Queue
from goclaw.stores import ingress, run_intake, runs
from goclaw.stores import sessions as rows
from goclaw.stores.ingress import First
from goclaw.stores.runs import Canceled, Claimed
from goclaw.stores.sessions import NewMessage

IDLE = 600.0  # seconds until it sleeps; supervision.md §10
ACTIVE = 20_000  # at once on a node
SLOT = 2.0  # seconds the lane has to answer
LABEL_CHARS = 60  # of a session's own label; agent-loop.md R3.4
LABEL = 100  # characters of an injected message's label; edge-websocket.md §7.2


class Open(Message[None]):
    """A run that has not ended, as far as this session knows."""

    run_id: str
    user_id: str
    kind: RunKind


class Session(Actor):
    responsive = True
    weather = (StoreError,)

    def __init__(self, address: Address, node_id: str, queue: Queue, run_timeout: float) -> None:
        _, _, tenant, key = address.split("/")
        self.tenant = unquote(tenant)
        self.text_key = unquote(key)
        self.key = parse_key(self.text_key)
        self.node_id = node_id
        self.queue = queue
        self.run_timeout = run_timeout
        self.owner: str | None = None  # None: nobody has spoken yet
        self.open: dict[str, Open] = {}  # oldest first
        self.remembered = False

    @property
    def belongs_to(self) -> tuple[str, str | None]:
        return self.tenant, self.owner

    async def _remember(self, ctx: Context) -> None:
        """Read what a former life knew, once. A crash may lose memory, never turns: they are rows."""
        if self.remembered:
            return
        row = await ctx.db(rows.find, tenant=self.tenant, key=self.text_key)
        if row is not None:
            for known in await ctx.db(runs.open_runs, tenant=self.tenant, key=self.text_key):
                self.open[known.run_id] = Open(run_id=known.run_id, user_id=known.user_id, kind=known.kind)
            self.owner = row.user_id
        self.remembered = True

    def _forget(self) -> None:
        self.open.clear()
        self.remembered = False

    @contextmanager
    def _forgetting(self) -> Iterator[None]:
        """A write that failed may have happened all the same: what is open is read again before the next answer."""
        try:
            yield
        except StoreError:
            self._forget()
            raise

    @handles
    async def send(self, ctx: Context, ask: Send) -> Accepted | Err:
        if ask.fresh:
            self.remembered = True
        await self._remember(ctx)
        if not self._may(ask.user_id, ask.as_admin):
            return not_found("session", self.text_key)
        digest = ask.digest(self.text_key)
        if ask.idempotency_key:
            first = await ctx.db(ingress.find, tenant=self.tenant, key=ask.idempotency_key)
            if first is not None:
                return _again(first, digest)
        waiting = self._waiting(ctx)
        if len(waiting) >= self.queue.cap:
            if self.queue.drop == "new":
                dropped(ctx, ask.kind, "new")
                return exhausted("queue_full", AGAIN)
            await self._drop(ctx, waiting[: len(waiting) - self.queue.cap + 1])
        owner = self.owner or ask.user_id
        group = self.key.kind == "group"
        turn: dict[str, Any] = dict(  # noqa: C408 - reads as the call it becomes
            run_id=ask.run_id,
            session_id=new_id(),
            tenant=self.tenant,
            key=self.text_key,
            session_kind=self.key.kind,
            channel=self.key.channel,
            label=label_of(ask.request.message),
            max_concurrent=self.queue.max_concurrent_group if group else self.queue.max_concurrent_dm,
            agent_id=ask.agent_id,
            agent_key=ask.agent_key,
            user=owner,
            kind=ask.kind,
            lane=LANE_OF[ask.kind],
            timeout=self.run_timeout,
            request=ask.request,
            request_hash=digest,
        )
        crash_point("ingress.accepting")
        stored = await self._store(ctx, ask, turn, one_more=len(waiting) < self.queue.cap)
        crash_point("ingress.accepted")
        if isinstance(stored, First):
            return _again(stored, digest)
        self.owner = owner
        accepted = Open(run_id=ask.run_id, user_id=owner, kind=ask.kind)
        self.open[ask.run_id] = accepted
        position = stored.queued + stored.running - 1
        expected = {"position": 0} if stored.started else await expectation(ctx, ask.kind, position)
        self._voice(ctx, accepted).say("run.queued", body(**expected), asked_by=ask.asked_by, request_id=ask.request_id)
        if stored.started:
            ctx.tell(lane(LANE_OF[ask.kind]), Start(run=self._claimed(ctx, ask, owner)))
        else:
            news = RunQueued(
                tenant_id=self.tenant,
                session_key=self.text_key,
                user_id=owner,
                priority=KINDS[ask.kind].priority,
                waited=None if stored.running or stored.queued > 1 else 0.0,
            )
            ctx.tell(lane(LANE_OF[ask.kind]), news)
        return Accepted(run_id=ask.run_id, session_key=self.text_key, position=position)

    @handles
    async def abort(self, ctx: Context, ask: Abort) -> Aborted | Err:
        await self._remember(ctx)
        if not self._may(ask.user_id, ask.as_admin):
            return not_found("session", self.text_key)
        drained: list[Canceled] = []
        if ask.drain or (ask.run_id and not self._runs(ctx, ask.run_id)):  # first: what waits now may be claimed next
            with self._forgetting():
                drained = await ctx.db(
                    runs.cancel_waiting,
                    tenant=self.tenant,
                    key=self.text_key,
                    reason="CANCELED",
                    runs=[ask.run_id] if ask.run_id else None,
                )
            for gone in drained:
                self._dropped(ctx, gone, ask.reason, None)
        stopped: list[str] = []
        for run_id in [ask.run_id] if ask.run_id else list(self.open):
            if run_id in self.open and await self._stop(ctx, run_id, ask):
                stopped.append(run_id)
                if ask.oldest:
                    break
        if ask.run_id:
            return Aborted(run_ids=tuple(stopped or [gone.run_id for gone in drained]), drained=0)
        return Aborted(run_ids=tuple(stopped), drained=len(drained))

    @handles
    async def inject(self, ctx: Context, ask: Inject) -> Injected | Err:
        await self._remember(ctx)
        if self.owner is None or not self._may(ask.user_id, ask.as_admin):
            return not_found("session", self.text_key)
        label = ask.label[:LABEL]
        text = f"[{label}]\n\n{ask.text}" if label else ask.text
        message = NewMessage(
            id=new_id(),
            role=ask.role,
            content=text,
            payload={"label": label} if label else {},
            token_estimate=estimate(text),
        )
        await ctx.db(rows.inject, tenant=self.tenant, key=self.text_key, message=message)
        self._updated(ctx)
        return Injected(message_id=message.id)

    @handles
    async def activity(self, ctx: Context, _ask: GetActivity) -> Activity:
        await self._remember(ctx)
        running = [run_id for run_id in self.open if self._runs(ctx, run_id)]
        return Activity(running=tuple(running), waiting=tuple(r for r in self.open if r not in running))

    @handles
    async def ended(self, ctx: Context, news: RunEnded) -> None:
        if self.open.pop(news.run_id, None) is not None or not self.remembered:
            await self._remember(ctx)
            self._updated(ctx)

    @handles
    async def lost(self, ctx: Context, _news: RunLost) -> None:
        self._forget()

    # --- accepting ----------------------------------------------------------------------------

    async def _store(self, ctx: Context, ask: Send, turn: dict[str, Any], *, one_more: bool) -> runs.Stored | First:
        """One commit. When nothing is open here and the lane has a slot, the same commit starts the run.

        `one_more` waits then, if none gave way for it.
        """
        later = ask.terms is not None and ask.terms.run_at is not None
        at_once = not self.open and not later and await self._slot(ctx, ask)
        if one_more and not at_once:
            await room_for(ctx, self.queue, tenant=self.tenant, user=turn["user"], kind=ask.kind)
        node = self.node_id if at_once else None
        earlier = [_history(message) for message in ask.earlier]
        started = False
        try:
            with self._forgetting():
                stored: runs.Stored | First
                if key := ask.idempotency_key:
                    stored = await ctx.db(
                        ingress.accept, earlier=earlier, terms=ask.terms, ingress_key=key, node=node, **turn
                    )
                elif ask.terms is not None:
                    stored = await ctx.db(run_intake.accept, runs.accept, terms=ask.terms, node=node, **turn)
                elif earlier:
                    stored = await ctx.db(runs.accept_with_history, earlier=earlier, node=node, **turn)
                else:
                    stored = await ctx.db(runs.accept, node=node, **turn)
            started = not isinstance(stored, First) and stored.started
        finally:
            if at_once and not started:
                ctx.tell(lane(LANE_OF[ask.kind]), GiveSlotBack(run_id=ask.run_id))
        return stored

    async def _slot(self, ctx: Context, ask: Send) -> bool:
        """A lane that is busy with something else costs a claim, never the turn."""
        try:
            return await ctx.ask(lane(LANE_OF[ask.kind]), TakeSlot(run_id=ask.run_id), within=SLOT)
        except RuntimeFault:
            ctx.tell(lane(LANE_OF[ask.kind]), GiveSlotBack(run_id=ask.run_id))  # it may still be granted
            return False

    def _claimed(self, ctx: Context, ask: Send, owner: str) -> Claimed:
        """The run as its first claim would have returned it."""
        terms, kind = ask.terms, KINDS[ask.kind]
        return Claimed(
            run_id=ask.run_id,
            tenant_id=self.tenant,
            session_key=self.text_key,
            agent_id=ask.agent_id,
            agent_key=ask.agent_key,
            user_id=owner,
            kind=ask.kind,
            lane=LANE_OF[ask.kind],
            attempt=1,
            crash_count=0,
            fence=1,
            lease_owner=self.node_id,
            stored=msgspec.json.encode(ask.request).decode(),
            created_at=ctx.clock.now(),
            age=0.0,
            idempotent=bool(ask.idempotency_key),
            max_attempts=terms.max_attempts if terms is not None else kind.attempts,
            priority=terms.priority if terms is not None else kind.priority,
            first=ask.fresh and not ask.earlier,
        )

    # --- parts --------------------------------------------------------------------------------

    def _may(self, user_id: str, as_admin: bool) -> bool:
        return as_admin or self.owner is None or self.owner == user_id

    def _runs(self, ctx: Context, run_id: str) -> bool:
        known = self.open.get(run_id)
        return known is not None and run(LANE_OF[known.kind], run_id) in ctx.system.members

    def _waiting(self, ctx: Context) -> list[str]:
        return [run_id for run_id in self.open if not self._runs(ctx, run_id)]

    async def _stop(self, ctx: Context, run_id: str, ask: Abort) -> bool:
        """False if it waits. One that is claimed and has not begun is stopped by its lane, which starts it."""
        where = LANE_OF[self.open[run_id].kind]
        if self._runs(ctx, run_id):
            return ctx.tell(run(where, run_id), Cancel(reason=ask.reason, by=ask.user_id)) is Told.ACCEPTED
        try:
            return await ctx.ask(lane(where), StopRun(run_id=run_id, reason=ask.reason, by=ask.user_id), within=SLOT)
        except RuntimeFault:
            raise Rejected(unavailable("restarting")) from None

    async def _drop(self, ctx: Context, oldest: list[str]) -> None:
        err = exhausted("queue_dropped")
        with self._forgetting():
            gone = await ctx.db(
                runs.cancel_waiting,
                tenant=self.tenant,
                key=self.text_key,
                reason="QUEUE_DROPPED",
                runs=oldest,
                error=err,
            )
        for turn in gone:
            if turn.run_id in self.open:
                dropped(ctx, self.open[turn.run_id].kind, "old")
            self._dropped(ctx, turn, "dropped", err)

    def _dropped(self, ctx: Context, gone: Canceled, reason: str, err: Err | None) -> None:
        """A waiting run ended: its listeners hear one terminal event."""
        dropped = self.open.pop(gone.run_id, None)
        if dropped is not None:
            result = RunResult(
                run_id=gone.run_id, session_key=self.text_key, cancelled=True, finish_reason="cancelled", error=err
            )
            self._voice(ctx, dropped, seq=said_in(gone.fence)).say("run.cancelled", body(reason=reason), result=result)

    def _voice(self, ctx: Context, of: Open, seq: int = 0) -> Voice:
        return Voice(
            ctx,
            run_id=of.run_id,
            tenant_id=self.tenant,
            user_id=of.user_id,
            agent_key=self.key.agent_key,
            session_key=self.text_key,
            kind=of.kind,
            seq=seq,
        )

    def _updated(self, ctx: Context) -> None:
        owner = self.owner or ""
        news = SessionUpdated(tenant_id=self.tenant, user_id=owner, session_key=self.text_key)
        for group in (of_user(self.tenant, owner), of_admins(self.tenant)):
            ctx.publish(group, news)

    def snapshot(self) -> dict[str, object]:
        return {"open_runs": len(self.open)}


def label_of(text: str) -> str:
    """What a conversation is called until somebody names it: its first eight words (agent-loop.md R3.4)."""
    return " ".join(text.split()[:8])[:LABEL_CHARS]


def _again(first: First, digest: str) -> Accepted | Err:
    """The answer to a key that was used before."""
    if first.request_hash != digest:
        return failed_precondition("idempotency_conflict")
    return Accepted(run_id=first.run_id, session_key=first.session_key, position=0)


def _history(message: Earlier) -> NewMessage:
    return NewMessage(id=new_id(), role=message.role, content=message.content, token_estimate=estimate(message.content))


def sessions(node_id: str, queue: Queue, run_timeout: float) -> Virtual:
    return Virtual(
        lambda address: Session(address, node_id, queue, run_timeout),
        idle=IDLE,
        most=ACTIVE,
        limit=Limit(restarts=3, within=5.0),
    )
