"""One life of a run: who takes part, what came of it so far, and the commit that ends it.

Contract  durability.md §4, §6, §8; agent-loop.md §3, §14, §15
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import trio

from goclaw.actors.engine.aftermath import after_deeds, ended
from goclaw.actors.engine.engine import Engine
from goclaw.actors.engine.hooks import RunHooks
from goclaw.actors.engine.journal import RunJournal
from goclaw.actors.engine.media import NONE, Sent, sent
from goclaw.actors.engine.trouble import Trouble, failure
from goclaw.actors.engine.voice import Voice
from goclaw.actors.engine.waits import requeued
from goclaw.actors.engine.written import rows_of
from goclaw.agent.act import interrupt
from goclaw.agent.recorder import Recorder
from goclaw.agent.turn import Draft
from goclaw.domain.address import OUTBOX, agent, lane, session
from goclaw.domain.agent import AgentProfile, TurnEnded
from goclaw.domain.chat import ChatMessage
from goclaw.domain.delivery import DeliveryKind, Post
from goclaw.domain.errors import Err, StoreError, unavailable
from goclaw.domain.events import body
from goclaw.domain.media import shown
from goclaw.domain.retry import Again, fingerprint, verdict
from goclaw.domain.run import RunRequest, RunResult, stop_reason
from goclaw.domain.session import RunLost
from goclaw.domain.texts import text_of
from goclaw.domain.usage import on_socket
from goclaw.runtime.actor import Context
from goclaw.runtime.crashpoint import crash_point
from goclaw.stores import elsewhere, run_ends, run_recovery, run_replies, runs
from goclaw.stores.run_ends import Fault
from goclaw.stores.run_kept import Kept, Step
from goclaw.stores.runs import Claimed, Depth, StaleOwner
from goclaw.stores.sessions import NewMessage
from goclaw.stores.unit import Work

COMMIT_TRIES = 6  # the last commit of a run is worth waiting for a database that comes back


@dataclass
class Life:
    run: Claimed
    request: RunRequest
    engine: Engine
    recorder: Recorder
    voice: Voice
    journal: RunJournal
    began: float  # monotonic seconds
    draft: Draft = field(default_factory=Draft)
    profile: AgentProfile | None = None
    hooks: RunHooks | None = None
    comparison: str | None = None  # of a replay, JSON
    sent: Sent = NONE  # files that go with the answer
    found: int = 0  # messages of the history
    stranger: bool = False  # its user meets the agent for the first time
    deaf: bool = False  # it hears nothing more
    over: bool = False

    async def succeed(self, ctx: Context) -> None:
        draft = self.draft
        self.recorder.end(draft.text, draft.finish_reason)
        self.sent = await sent(ctx, self.engine, self.run, self.profile, draft)
        result = self._result(
            content=draft.text,
            media=self.sent.files,
            finish_reason=draft.finish_reason,
            stop_reason=draft.stop_reason,
            silent=draft.silent,
            comparison=self.comparison,
            structured=msgspec.Raw(draft.text.encode()) if draft.fits else None,
        )
        rows = self._rows(draft.messages)
        kept = self.journal.kept(*self._last_step())

        async def store() -> Depth:
            said = {"result": result, "messages": rows, "kept": kept}
            return await self._end(ctx, run_ends.succeed, "final", draft.text, said)

        crash_point("run.finishing")
        if not await self._commit(ctx, store, kept):
            return
        crash_point("run.finished")
        members: dict[str, Any] = {
            "content": draft.text,
            "usage": on_socket(draft.usage, cost=result.cost_usd),
            "finishReason": draft.finish_reason,
            "durationMs": int((ctx.clock.monotonic() - self.began) * 1000),
            "iterations": draft.iterations,
            "toolCalls": draft.tool_calls,
            "stopReason": draft.stop_reason,
        }
        if draft.offline:
            members["offline"] = True
        if draft.silent:
            members["silent"] = True
        if result.media:
            members["media"] = shown(result.media, self.engine.links, ctx.clock.epoch_ms() / 1000)
        if draft.fits is not None:
            members["structured"] = result.structured
        if draft.fits is False:
            ctx.log.warning("run.answer_unfit", run=self.run.run_id, agent=self.run.agent_key)
        if self.stranger and self.profile is not None:
            ctx.tell(agent(self.run.tenant_id, self.run.agent_key), TurnEnded(user_id=self.run.user_id))
        if self.hooks is not None:
            self.hooks.tell("stop")
        self.voice.say("run.completed", body(**members), result=result)
        self._leave(ctx)

    async def _end(
        self, ctx: Context, end: Work[..., Depth], kind: DeliveryKind, text: str, ending: dict[str, Any]
    ) -> Depth:
        """Its end in the store, and in the same commit what a chat is sent of it."""
        to = self.request.reply_to
        if to is None or not (text.strip() or self.sent.files):
            return await ctx.db(end, self.run, **ending)
        files = self.sent.parcels
        depth = await ctx.db(run_replies.ended, end, self.run, to, text=text, kind=kind, media=files, ending=ending)
        ctx.tell(OUTBOX, Post())
        return depth

    def _last_step(self) -> list[Step]:
        """The answer as a step. It is stored with the run's end, in one commit."""
        if not self.draft.messages:
            return []
        message = msgspec.Raw(msgspec.json.encode(self.draft.messages[-1]))
        return [Step(step_no=self.draft.step, kind="llm", message=message)]

    async def troubled(self, ctx: Context, trouble: Trouble) -> None:
        """An error that may pass is tried again, unless it came too often; any other ends the run."""
        run = self.run
        print_ = fingerprint(trouble.kind, trouble.message)
        fault = Fault(fingerprint=print_, alike=run.fingerprint_count + 1 if run.fingerprint == print_ else 1)
        if not trouble.again:
            return await self.fail(ctx, trouble.err, trouble.reason, trouble.message, fault=fault)
        age = run.age + ctx.clock.monotonic() - self.began
        fate = verdict(
            run_id=run.run_id,
            kind=run.kind,
            attempt=run.attempt,
            max_attempts=run.max_attempts,
            age=age,
            alike=fault.alike,
            rules=self.engine.rules,
        )
        if isinstance(fate, Again):
            return await self._retry(ctx, trouble, fault, fate.delay)
        await self.fail(ctx, trouble.err, trouble.reason, trouble.message, fault=fault, dead=fate.dead)

    async def _retry(self, ctx: Context, trouble: Trouble, fault: Fault, delay: float) -> None:
        self._interrupt()
        kept = self.journal.kept()

        async def store() -> Depth:
            return await ctx.db(
                run_ends.retry,
                self.run,
                reason=trouble.again,
                error=f"{trouble.kind}: {trouble.told}",
                fault=fault,
                delay=delay,
                kept=kept,
            )

        if await self._commit(ctx, store, kept, due_in=delay):
            ctx.system.meter.count("run_retries_total", trouble.again)
            self.voice.say(
                "run.retrying",
                body(
                    attempt=self.run.attempt,
                    maxAttempts=self.run.max_attempts,
                    delayMs=int(delay * 1000),
                    error=text_of(trouble.err, "en"),
                    reset=True,
                ),
            )

    async def fail(
        self,
        ctx: Context,
        err: Err,
        reason: str,
        message: str = "",
        *,
        fault: Fault | None = None,
        dead: str | None = None,
    ) -> None:
        draft = self.draft
        self._interrupt()
        result = self._result(content=draft.text, error=err)
        said = [message for message in draft.messages if message.role == "user"]
        note = after_deeds(draft, err, self.journal.effect_of, self.request)
        rows = self._rows([*said, *self.journal.unheard(), *note])
        kept = self.journal.kept()
        error = f"{err.code}: {message or err.details}"

        async def store() -> Depth:
            said = {
                "result": result,
                "reason": reason,
                "error": error,
                "messages": rows,
                "kept": kept,
                "dead": dead,
                "fault": fault,
            }
            return await self._end(ctx, run_ends.fail, "notice", text_of(err, self.request.locale), said)

        if not await self._commit(ctx, store, kept):
            return
        if dead is not None:
            ctx.system.meter.count("run_dead_letter_total", dead)
        if self.journal.loop is not None and draft.loop is None:
            self.voice.loop("timeout" if reason == "TIMEOUT" else "failed", {})
        self.voice.say("run.failed", failure(err, draft.text, self.request.locale), result=result)
        self._leave(ctx)

    async def cancelled(self, ctx: Context, why: str, by: str, reason: str = "CANCELED") -> None:
        self.deaf = True
        self._interrupt()
        draft, run = self.draft, self.run
        messages = [*draft.messages, *self.journal.unheard()]
        if draft.text and not (messages and messages[-1].content == draft.text):
            messages.append(ChatMessage(role="assistant", content=draft.text))
        result = self._result(content=draft.text, finish_reason="cancelled", cancelled=True)
        rows = self._rows(messages, cancelled=True)
        kept = self.journal.kept()

        async def store() -> Depth:
            return await ctx.db(run_ends.cancel, run, result=result, reason=reason, messages=rows, kept=kept)

        if not await self._commit(ctx, store, kept):
            return
        self.voice.say("run.cancelled", body(reason=why, by=by), result=result)
        usage = on_socket(draft.usage, cost=result.cost_usd)
        echo = body(content=draft.text, cancelled=True, finishReason="cancelled", echo=True, usage=usage)
        self.voice.say("run.completed", echo)  # older web clients wait for it (wire-compat.md A6)
        self._leave(ctx)

    def _interrupt(self) -> None:
        interrupt(self.voice, self.draft, begun=self.journal.on_its_way)

    async def release(self, ctx: Context) -> None:
        run, calls = self.run, self.journal.calls
        kept = Kept(calls=calls.waiting(), payers=calls.payers)

        async def store() -> Depth:
            return await ctx.db(run_recovery.put_back, run, reason="RELEASE_SHUTDOWN", kept=kept)

        if await self._commit(ctx, store):
            result = self._result(error=unavailable("shutting_down", runId=run.run_id))
            self.voice.say("run.released", result=result)
            self._leave(ctx)

    async def _commit(
        self, ctx: Context, store: Callable[[], Awaitable[Depth]], kept: Kept | None = None, due_in: float = 0.0
    ) -> bool:
        """The last write of a life: not to be cancelled, and worth some patience with the database.

        False if the run is not ours to end: somebody else owns it by now, or wants it to end in another way, which
        is done before this returns. A database that stays away ends in a crash: the run is recovered when it is back.
        """
        doubt = False  # a write may have been done although it failed
        with trio.CancelScope(shield=True):
            for attempt in range(1, COMMIT_TRIES + 1):
                try:
                    depth = await store()
                except StaleOwner:
                    if not (doubt and await self._stored(ctx)):
                        await self._overruled(ctx)
                        return False
                    depth = Depth(1, 0)
                except StoreError as trouble:
                    doubt = doubt or trouble.kind == "commit_unknown"
                    if doubt and await self._stored(ctx):
                        depth = Depth(1, 0)
                    elif attempt == COMMIT_TRIES:
                        raise
                    else:
                        await trio.sleep(0.1 * 2**attempt)
                        continue
                self.over = True
                if kept is not None:
                    self.journal.stored(kept)
                if depth.queued:
                    ctx.tell(lane(self.run.lane), requeued(self.run, due_in=due_in))
                return True
        return False

    async def _overruled(self, ctx: Context) -> None:
        """Success was refused: a cancel was committed, the session was reset, or the run is not ours any more."""
        match await ctx.db(runs.standing, self.run):
            case "stopping":
                wish = await ctx.db(elsewhere.stop_wish, tenant=self.run.tenant_id, run_id=self.run.run_id)
                await self.cancelled(ctx, stop_reason(wish.reason if wish else ""), wish.by if wish else "")
            case "reset":
                await self.cancelled(ctx, "user", "", "LANE_CLEARED")
            case _:
                self.lost(ctx)

    def lost(self, ctx: Context) -> None:
        ctx.log.warning("run.stale", run=self.run.run_id)
        ctx.system.meter.count("stale_write_rejected_total")
        self.over = True
        ctx.tell(session(self.run.tenant_id, self.run.session_key), RunLost())

    async def _stored(self, ctx: Context) -> bool:
        """After a commit of unknown outcome: did it happen? Nobody else lets go of a run with our fence."""
        try:
            return await ctx.db(runs.standing, self.run) == "let go"
        except StoreError:
            return False

    def _leave(self, ctx: Context) -> None:
        news = ended(self.run, self.profile, self.found, self.draft, self.engine.defaults.compaction)
        ctx.tell(session(self.run.tenant_id, self.run.session_key), news)

    def _result(self, **members: Any) -> RunResult:
        run, draft = self.run, self.draft
        return RunResult(
            run_id=run.run_id,
            session_key=run.session_key,
            usage=draft.usage,
            cost_usd=self.journal.calls.cost,
            offline=draft.offline,
            **members,
        )

    def said_so_far(self) -> str:
        """The last words to the user in this run, if there were any."""
        said = (message.content for message in reversed(self.draft.messages) if message.role == "assistant")
        return next((text for text in said if text.strip()), "")

    def _rows(self, said: Sequence[ChatMessage], *, cancelled: bool = False) -> list[NewMessage]:
        if self.request.replay is not None:
            return []  # it leaves nothing behind but its row
        said = [one for one in said if one.role != "user" or not self.journal.told_itself(one.content)]
        offline = self.draft.offline
        files = self.sent.files
        return rows_of(self.run, self.request, said, self.profile, offline=offline, cancelled=cancelled, media=files)
