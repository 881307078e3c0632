"""What every part of a session needs: who it belongs to, which runs are open, how it tells the world."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote

from goclaw.actors.engine.engine import Engine
from goclaw.actors.engine.voice import Voice, said_in
from goclaw.domain.address import agent, lane, run
from goclaw.domain.agent import GetProfile
from goclaw.domain.cluster import MARKS, Marked, Ownership, run_topic
from goclaw.domain.errors import Err, Rejected, StoreError
from goclaw.domain.events import SessionUpdated, body, of_admins, of_user
from goclaw.domain.queue_policy import Override, QueueMode, resolved
from goclaw.domain.run import RunKind, RunQueued, RunResult, StopRun
from goclaw.domain.session import parse_key
from goclaw.runtime.actor import Actor, Context
from goclaw.runtime.address import Address
from goclaw.runtime.faults import RuntimeFault
from goclaw.runtime.message import Cancel, Message
from goclaw.settings.queue import Queue
from goclaw.stores import runs, session_changes, session_queue
from goclaw.stores.run_stops import Canceled
from goclaw.stores.session_queue import Stopped

BEGUN = frozenset({"CLAIMED", "RUNNING"})
PROFILE = 2.0  # seconds its agent has to say how much it can read


class Open(Message[None]):
    """A run that has not ended, as far as this session knows."""

    run_id: str
    user_id: str
    sender: str
    kind: RunKind
    begun: bool = False  # when it was read; if it has no actor here, another node runs it


class Conversation(Actor):
    """The memory of a session. It is a copy: a crash loses it, the next message reads it again."""

    responsive = True
    weather = (StoreError,)

    def __init__(
        self,
        address: Address,
        node_id: str,
        queue: Queue,
        run_timeout: float,
        own: Ownership,
        engine: Engine,
        metered: bool = False,
    ) -> None:
        _, _, tenant, key = address.split("/")
        self.tenant = unquote(tenant)
        self.text_key = unquote(key)
        self.key = parse_key(self.text_key)
        self.node_id = node_id
        self.queue = queue
        self.run_timeout = run_timeout
        self.engine = engine
        self.spending = engine.spending
        self.own = own
        self.policy = resolved(queue.of_channel(self.key.channel), queue)
        self.slots_now: int | None = None  # what its head has; None before the first run
        self.metered = metered  # turns are counted (§8.1)
        self.open: dict[str, Open] = {}  # oldest first
        self.owner: str | None = None  # nobody has spoken yet
        self.mode: QueueMode | None = None  # its own; None: as its agent, its channel, everybody
        self.model = ""  # of this session; empty = the agent's
        self.cutoff = 0  # epoch milliseconds; what arrived before it is stale
        self.remembered: int | None = None  # in whose company we read; None = not read, or others write too

    @property
    def belongs_to(self) -> tuple[str, str | None]:
        return self.tenant, self.owner

    async def _remember(self, ctx: Context) -> None:
        """Read what a former life knew, once. A crash may lose memory, never turns: they are rows.

        Among several nodes any of them may take a turn in for this session, so each message reads again.
        """
        company = self.own.company
        if self.remembered is not None and self.remembered == company:
            return
        self.remembered = None
        row = await ctx.db(session_changes.known, tenant=self.tenant, key=self.text_key)
        waiting = await ctx.db(runs.open_runs, tenant=self.tenant, key=self.text_key) if row is not None else []
        self.open.clear()
        if row is not None:
            for known in waiting:
                sender = known.request.sender or known.user_id
                self.open[known.run_id] = Open(
                    run_id=known.run_id,
                    user_id=known.user_id,
                    sender=sender,
                    kind=known.kind,
                    begun=known.state in BEGUN,
                )
            self.owner = row.user_id
            self.mode = (row.queue_config or {}).get("mode")
            self.slots_now = row.slots
            self.model = row.model or ""
            self.cutoff = int(row.stale_before.timestamp() * 1000) if row.stale_before else 0
        self.remembered = company

    def _forget(self) -> None:
        self.open.clear()
        self.owner = None
        self.mode = None
        self.slots_now = None
        self.model = ""
        self.cutoff = 0
        self.remembered = None

    @contextmanager
    def _forgetting(self) -> Iterator[None]:
        """A write that failed may have happened all the same: what is open is read again before the next answer."""
        try:
            yield
        except StoreError:
            self._forget()
            raise

    def _may(self, user_id: str, as_admin: bool) -> bool:
        return as_admin or self.owner is None or self.owner == user_id

    def _runs(self, ctx: Context, run_id: str) -> bool:
        return run_id in self.open and run(self.key.lane, run_id) in ctx.system.members

    def _waiting(self, ctx: Context) -> list[str]:
        return [run_id for run_id, known in self.open.items() if not known.begun and not self._runs(ctx, run_id)]

    @property
    def slots(self) -> int:
        return self.policy.slots(self.key.group)

    async def _obey(self, ctx: Context, agent: Override) -> None:
        """From now on turns wait as the session, its agent, its channel and everybody say, in this order (§3.1)."""
        before = self.slots
        self.policy = resolved(Override(mode=self.mode), agent, self.queue.of_channel(self.key.channel), self.queue)
        if self.slots_now is not None and (self.slots != before or self.slots_now not in (1, self.slots)):
            await self._throttle(ctx)

    async def _throttle(self, ctx: Context) -> None:
        """A session of several slots works one by one while its history is long (§3.5)."""
        if self.slots == 1 and self.slots_now in (None, 1):
            return
        try:
            profile = await ctx.ask(agent(self.tenant, self.key.agent_key), GetProfile(), within=PROFILE)
        except (Rejected, RuntimeFault):
            return
        most = int(profile.context_window * self.queue.adaptive_threshold)
        slots = await ctx.db(session_queue.throttle, tenant=self.tenant, key=self.text_key, slots=self.slots, most=most)
        if slots is not None:
            self.slots_now = slots
            ctx.tell(lane(self.key.lane), RunQueued(tenant_id=self.tenant, session_key=self.text_key))

    # --- telling ------------------------------------------------------------------------------

    def _stopped(self, ctx: Context, stopped: Stopped, reason: str, by: str) -> None:
        """It is in the database already; who works hears of it now instead of at its next look."""
        for gone in stopped.drained:
            self._dropped(ctx, gone, reason, None)
        for run_id in stopped.running:
            if self._runs(ctx, run_id):
                ctx.tell(run(self.key.lane, run_id), Cancel(reason=reason, by=by))
            else:  # claimed, and not begun: its lane starts it with its next message
                ctx.tell(lane(self.key.lane), StopRun(run_id=run_id, reason=reason, by=by))
                if not self.own.alone:  # or on another node, which hears of its flag
                    ctx.publish(MARKS, Marked(kind="cancel", topic=run_topic(run_id)))

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

    def _updated(self, ctx: Context, **about: object) -> None:
        owner = self.owner or ""
        news = SessionUpdated(tenant_id=self.tenant, user_id=owner, session_key=self.text_key, about=body(**about))
        for group in (of_user(self.tenant, owner), of_admins(self.tenant)):
            ctx.publish(group, news)

    def snapshot(self) -> dict[str, object]:
        return {"open_runs": len(self.open), "mode": self.mode or self.policy.mode}
