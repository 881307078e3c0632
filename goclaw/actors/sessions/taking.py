"""What becomes of a turn: it starts, waits, merges, interrupts, or is part of a run that works.

Contract  sessions-lanes-cron.md §3.2, §3.4, §3.6; agent-loop.md §9.4; durability.md §3
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec

from goclaw.actors.engine.intake import AGAIN, dropped, expectation, room_for
from goclaw.actors.engine.lane_news import Start
from goclaw.actors.engine.voice import Voice
from goclaw.actors.sessions.conversation import Open
from goclaw.actors.sessions.upkeep import Upkeep
from goclaw.agent.label import label_of
from goclaw.domain.address import QUOTA, lane, run
from goclaw.domain.errors import Err, StoreError, exhausted, failed_precondition
from goclaw.domain.events import body
from goclaw.domain.ids import new_id
from goclaw.domain.quota import FREE, GiveTurnBack, TakeTurn, payer_of
from goclaw.domain.run import INTERACTIVE, KINDS, GiveSlotBack, InjectText, RunQueued, TakeSlot
from goclaw.domain.session import Accepted, Earlier, Send
from goclaw.domain.tokens import estimate
from goclaw.runtime.actor import Context
from goclaw.runtime.crashpoint import crash_point
from goclaw.runtime.faults import RuntimeFault
from goclaw.stores import ingress, run_acceptance, run_intake, run_stops, session_queue
from goclaw.stores.ingress import First
from goclaw.stores.run_stops import Canceled
from goclaw.stores.runs import Claimed
from goclaw.stores.session_queue import Aside, KeyUsed, Place
from goclaw.stores.sessions import NewMessage

COUNTED = 5.0  # seconds the quota has to answer
SLOT = 2.0  # seconds the lane has to answer
HEARD = 2.0  # seconds a run has to take an injected text
TRANSIT = 60_000  # milliseconds a turn may be on its way; older is a clock that was set back


Accept = Callable[[], Awaitable[Accepted | Err]]


class Taking(Upkeep):
    closing = False  # the house is: what comes now waits for the next start

    async def _take(self, ctx: Context, ask: Send, asides: tuple[Aside, ...] = ()) -> Accepted | Err:
        try:
            return await self._taken(ctx, ask, asides)
        except KeyUsed as used:
            return await self._again(ctx, ask, used.first)

    async def _taken(self, ctx: Context, ask: Send, asides: tuple[Aside, ...]) -> Accepted | Err:
        """What becomes of a turn: sessions-lanes-cron.md §3.2."""
        if self.cutoff - TRANSIT < ask.received_at < self.cutoff:
            return await self._pass_over(ctx, ask)
        mode = ask.mode or (self.policy.mode if ask.kind in INTERACTIVE else "queue")
        if ask.terms is not None and mode in ("inject", "followup"):
            mode = "queue"  # what holds keys of its own is a run of its own
        if mode == "inject" and (taken := await self._into_a_run(ctx, ask, asides)) is not None:
            return taken
        if mode == "followup" and not asides and (joined := await self._into_one_that_waits(ctx, ask)) is not None:
            return joined
        if mode == "interrupt" and self.open:
            return await self._metered(ctx, ask, partial(self._interrupt, ctx, ask, asides))
        waiting: list[str] = []
        if ask.kind != "announce":  # a result has its own slot and takes nobody's place
            waiting = [run_id for run_id in self._waiting(ctx) if self.open[run_id].kind != "announce"]
        if len(waiting) >= self.policy.cap and self.policy.drop == "new":
            dropped(ctx, ask.kind, "new")
            return exhausted("queue_full", AGAIN)
        return await self._metered(ctx, ask, partial(self._accept, ctx, ask, asides, waiting))

    async def _metered(self, ctx: Context, ask: Send, accept: Accept) -> Accepted | Err:
        """Accept it if the quota of its user or group allows one more run (§8.1). Raises `Rejected` if not."""
        if not self.metered or ask.unmetered or ask.kind in FREE:
            return await accept()
        payer = payer_of(self.tenant, self.key, self.owner or ask.user_id)
        take = TakeTurn(payer=payer, run_id=ask.run_id, channel=self.key.channel, provider=ask.provider)
        await ctx.ask(QUOTA, take, within=COUNTED)
        accepted = False
        try:
            answer = await accept()
            accepted = isinstance(answer, Accepted) and answer.run_id == ask.run_id
        except StoreError:
            accepted = True  # perhaps: the next count will tell
            raise
        finally:
            if not accepted:
                ctx.tell(QUOTA, GiveTurnBack(payer=payer, run_id=ask.run_id))
        return answer

    async def _accept(self, ctx: Context, ask: Send, asides: tuple[Aside, ...], waiting: list[str]) -> Accepted | Err:
        """One commit. When nothing is open here and the lane has a slot, the same commit starts the run.

        At the cap the oldest of those `waiting` give way; below it one more waits then.
        """
        one_more = len(waiting) < self.policy.cap
        if not one_more:
            await self._drop(ctx, waiting[: len(waiting) - self.policy.cap + 1])
        claimed_alone = ask.terms is not None and bool(ask.terms.run_at or ask.terms.resource_keys)
        later = self.closing or claimed_alone
        mine = self.own.has(self.tenant, self.text_key)
        at_once = mine and not (self.open or later) and await self._slot(ctx, ask)
        if one_more and not at_once:
            await room_for(ctx, self.queue, tenant=self.tenant, user=self.owner or ask.user_id, kind=ask.kind)
        turn = self._turn(ask)
        earlier = [_history(message) for message in ask.earlier]
        node = self.node_id if at_once else None
        started = False
        crash_point("ingress.accepting")
        try:
            with self._forgetting():
                stored: run_acceptance.Stored | First
                if asides:
                    stored = await ctx.db(
                        session_queue.accept_merged, asides=asides, terms=ask.terms, node=node, **turn
                    )
                elif ask.idempotency_key:
                    stored = await ctx.db(ingress.accept, earlier=earlier, terms=ask.terms, node=node, **turn)
                elif ask.terms is not None:
                    stored = await ctx.db(run_intake.accept, run_acceptance.accept, terms=ask.terms, node=node, **turn)
                elif earlier:
                    stored = await ctx.db(run_acceptance.accept_with_history, earlier=earlier, node=node, **turn)
                else:
                    stored = await ctx.db(run_acceptance.accept, node=node, **turn)
            started = not isinstance(stored, First) and stored.started
        finally:
            if at_once and not started:
                ctx.tell(lane(self.key.lane), GiveSlotBack(run_id=ask.run_id))
        crash_point("ingress.accepted")
        if isinstance(stored, First):
            return await self._again(ctx, ask, stored)
        return await self._accepted(ctx, ask, stored, turn["policy"])

    async def _accepted(
        self, ctx: Context, ask: Send, stored: run_acceptance.Stored, policy: str | None = None
    ) -> Accepted:
        """It is in the database: tell who listens, and the lane."""
        self.slots_now = self.slots_now or self.slots  # a new head has what we gave it
        position = stored.queued + stored.running - 1
        voice = self._enter(ctx, ask)
        expected = {"position": 0} if stored.started else await expectation(ctx, ask.kind, position)
        voice.say("run.queued", body(**expected), asked_by=ask.asked_by, request_id=ask.request_id)
        if stored.started:
            ctx.tell(lane(self.key.lane), Start(run=self._claimed(ctx, ask, policy)))
        elif not self.closing:
            ctx.tell(lane(self.key.lane), self._queued(ctx, ask, alone=stored.running + stored.queued == 1))
        return Accepted(run_id=ask.run_id, session_key=self.text_key, position=position)

    async def _interrupt(self, ctx: Context, ask: Send, asides: tuple[Aside, ...]) -> Accepted | Err:
        if not self._waiting(ctx):  # else whoever waits makes room
            await room_for(ctx, self.queue, tenant=self.tenant, user=self.owner or ask.user_id, kind=ask.kind)
        with self._forgetting():
            stored, stopped = await ctx.db(
                session_queue.accept_interrupting,
                by=ask.user_id,
                asides=asides,
                terms=ask.terms,
                **self._turn(ask),
            )
        if isinstance(stored, First):
            return await self._again(ctx, ask, stored)
        self._stopped(ctx, stopped, "interrupt", ask.user_id)
        return await self._accepted(ctx, ask, stored)

    async def _into_a_run(self, ctx: Context, ask: Send, asides: tuple[Aside, ...]) -> Accepted | None:
        """Hand the text to the run that works (agent-loop.md §9.4). None if there is none, or it is about to end.

        It is stored once the run has taken it, and acknowledged once it is stored. A run that ended in between has
        not answered it.
        """
        active = next((run_id for run_id in self.open if self._runs(ctx, run_id)), None)
        if active is None:
            return None
        text = InjectText(message_id=ask.idempotency_key or ask.run_id, text=ask.text, sender=ask.user_id)
        try:
            if not await ctx.ask(run(self.key.lane, active), text, within=HEARD):
                return None
        except RuntimeFault:
            return None
        place, aside = self._place(ask), self._aside(ask)
        with self._forgetting():
            kept = await ctx.db(session_queue.keep_injected, place=place, aside=aside, into=active, asides=asides)
        if not kept:
            return None
        return Accepted(run_id=active, session_key=self.text_key, position=0, injected=True)

    async def _into_one_that_waits(self, ctx: Context, ask: Send) -> Accepted | None:
        waiting = [self.open[run_id] for run_id in self._waiting(ctx)]
        last = next((o for o in reversed(waiting) if o.sender == ask.user_id and o.kind == ask.kind), None)
        if last is None or not any(self._runs(ctx, run_id) for run_id in self.open):
            return None
        with self._forgetting():
            joined = await ctx.db(
                session_queue.join_waiting, place=self._place(ask), aside=self._aside(ask), into=last.run_id
            )
        if not joined:
            return None
        position = list(self.open).index(last.run_id)
        return Accepted(run_id=last.run_id, session_key=self.text_key, position=position, merged=True)

    async def _again(self, ctx: Context, ask: Send, first: First) -> Accepted | Err:
        """The answer to a key that was used before."""
        if first.request_hash != ask.digest(self.text_key):
            return failed_precondition("idempotency_conflict")
        into = await ctx.db(session_queue.merged_into, tenant=self.tenant, run_id=first.run_id)
        run_id = into or first.run_id
        return Accepted(run_id=run_id, session_key=first.session_key, position=0, merged=into is not None)

    async def _pass_over(self, ctx: Context, ask: Send) -> Accepted:
        """It was sent before somebody stopped everything: kept in the trail, answered like what was stopped."""
        await ctx.db(session_queue.pass_over, place=self._place(ask), aside=self._aside(ask))
        self._enter(ctx, ask).say("run.queued", body(position=0), asked_by=ask.asked_by, request_id=ask.request_id)
        self._dropped(ctx, Canceled(run_id=ask.run_id, lane=self.key.lane, fence=0), "dropped", None)
        return Accepted(run_id=ask.run_id, session_key=self.text_key, position=0)

    # --- parts --------------------------------------------------------------------------------

    def _enter(self, ctx: Context, ask: Send) -> Voice:
        """From now on the run is one of ours; its voice."""
        self.owner = self.owner or ask.user_id
        accepted = Open(run_id=ask.run_id, user_id=self.owner, sender=ask.user_id, kind=ask.kind)
        self.open[ask.run_id] = accepted
        return self._voice(ctx, accepted)

    def _turn(self, ask: Send) -> dict[str, Any]:
        aside = self._aside(ask)
        return {
            "policy": self.engine.guards.policy.version,
            "run_id": ask.run_id,
            "session_id": new_id(),
            "tenant": self.tenant,
            "key": self.text_key,
            "session_kind": self.key.kind,
            "channel": self.key.channel,
            "label": label_of(ask.text),
            "max_concurrent": self.slots,
            "agent_id": ask.agent_id,
            "agent_key": ask.agent_key,
            "user": aside.user,
            "kind": ask.kind,
            "lane": self.key.lane,
            "timeout": self._timeout(ask),
            "request": aside.request,
            "request_hash": aside.request_hash,
            "ingress_key": aside.ingress_key,
        }

    def _aside(self, ask: Send) -> Aside:
        owner = self.owner or ask.user_id
        sender = "" if ask.user_id == owner else ask.user_id
        return Aside(
            run_id=ask.run_id,
            user=owner,
            kind=ask.kind,
            request=msgspec.structs.replace(
                ask.request, message=ask.text, sender=sender, model=ask.request.model or self.model
            ),
            request_hash=ask.digest(self.text_key),
            ingress_key=ask.idempotency_key or None,
        )

    def _place(self, ask: Send) -> Place:
        return Place(
            tenant=self.tenant,
            key=self.text_key,
            lane=self.key.lane,
            agent_id=ask.agent_id,
            agent_key=ask.agent_key,
        )

    def _claimed(self, ctx: Context, ask: Send, policy: str | None) -> Claimed:
        """The run as its first claim would have returned it."""
        aside = self._aside(ask)
        terms, kind = ask.terms, KINDS[ask.kind]
        return Claimed(
            run_id=ask.run_id,
            tenant_id=self.tenant,
            session_key=self.text_key,
            agent_id=ask.agent_id,
            agent_key=ask.agent_key,
            user_id=aside.user,
            kind=ask.kind,
            lane=self.key.lane,
            attempt=1,
            crash_count=0,
            fence=1,
            lease_owner=self.node_id,
            stored=msgspec.json.encode(aside.request).decode(),
            created_at=ctx.clock.now(),
            age=0.0,
            left=self._timeout(ask),
            idempotent=bool(ask.idempotency_key),
            max_attempts=terms.max_attempts if terms is not None else kind.attempts,
            priority=terms.priority if terms is not None else kind.priority,
            first=ask.fresh and not ask.earlier,
            policy_version=policy,
        )

    def _timeout(self, ask: Send) -> float:
        return ask.timeout or KINDS[ask.kind].timeout or self.run_timeout

    def _queued(self, ctx: Context, ask: Send, *, alone: bool) -> RunQueued:
        """What its lane must know. Whether a turn is due that others wait before, the lane finds out."""
        priority, waited = KINDS[ask.kind].priority, 0.0
        if ask.terms is not None:
            priority = ask.terms.priority
            if ask.terms.run_at is not None:
                waited = min(0.0, (ctx.clock.now() - ask.terms.run_at).total_seconds())
        return RunQueued(
            tenant_id=self.tenant,
            session_key=self.text_key,
            user_id=self.owner or ask.user_id,
            priority=priority,
            waited=waited if alone else None,
        )

    async def _slot(self, ctx: Context, ask: Send) -> bool:
        """A lane that is busy with something else costs a claim, never the turn."""
        try:
            return await ctx.ask(lane(self.key.lane), TakeSlot(run_id=ask.run_id), within=SLOT)
        except RuntimeFault:
            ctx.tell(lane(self.key.lane), GiveSlotBack(run_id=ask.run_id))  # it may still be granted
            return False

    async def _drop(self, ctx: Context, oldest: list[str]) -> None:
        err = exhausted("queue_dropped")
        with self._forgetting():
            gone = await ctx.db(
                run_stops.cancel_waiting,
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


def _history(message: Earlier) -> NewMessage:
    return NewMessage(id=new_id(), role=message.role, content=message.content, token_estimate=estimate(message.content))
