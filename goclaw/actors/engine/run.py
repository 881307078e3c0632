"""One execution of one run: from its claim to its last commit.

Address   /engine/lanes/{lane}/{run_id}
Contract  durability.md §3, §4, §6, §8; agent-loop.md §3, §14, §15
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import trio
from msgspec import Struct

from goclaw import __version__
from goclaw.actors.engine.aftermath import ended
from goclaw.actors.engine.calls import CallLog, Logged
from goclaw.actors.engine.desk import models_of
from goclaw.actors.engine.engine import Engine
from goclaw.actors.engine.hooks import RunHooks, about_run, submitted
from goclaw.actors.engine.journal import RunJournal
from goclaw.actors.engine.prepare import prepared
from goclaw.actors.engine.purse import CallPurse, Thrifty
from goclaw.actors.engine.replay import replay
from goclaw.actors.engine.tool_calls import ToolCalls
from goclaw.actors.engine.voice import said_in, voice_of
from goclaw.actors.engine.waits import requeued
from goclaw.actors.engine.written import rows_of
from goclaw.agent.act import interrupt
from goclaw.agent.loop import answer
from goclaw.agent.recorder import Recorder
from goclaw.agent.turn import Draft, Task
from goclaw.domain.address import OUTBOX, agent, lane, session
from goclaw.domain.agent import AgentProfile, GetProfile, TurnEnded
from goclaw.domain.budget import about_money, payers_of
from goclaw.domain.chat import ChatMessage, ToolCall, ToolSpec
from goclaw.domain.delivery import DeliveryKind, Post
from goclaw.domain.errors import (
    Err,
    ProviderError,
    Rejected,
    StoreError,
    agent_timeout,
    provider_failed,
    unavailable,
)
from goclaw.domain.events import body
from goclaw.domain.retry import Again, fingerprint, verdict
from goclaw.domain.run import INTERACTIVE, PREVIEW, Awaiting, InjectText, Replay, RunRequest, RunResult, stop_reason
from goclaw.domain.session import RunLost
from goclaw.domain.texts import text_of
from goclaw.domain.usage import on_socket
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.crashpoint import crash_point
from goclaw.runtime.faults import RuntimeFault
from goclaw.runtime.message import Cancel
from goclaw.stores import elsewhere, run_replies, runs, sessions
from goclaw.stores.runs import Claimed, Depth, Fault, Kept, StaleOwner, Step
from goclaw.stores.sessions import MessageRow, NewMessage
from goclaw.stores.unit import Work
from goclaw.tools.hooks.prompt import Asking
from goclaw.tools.ledger import LedgerConflict
from goclaw.tools.pipeline import effect_of

HISTORY = 400  # messages read for a turn; the prompt takes what fits
COMMIT_TRIES = 6  # the last commit of a run is worth waiting for a database that comes back
RELEASE = "release"  # reason of a cancel that puts the run back into the queue
PROVIDERS = {"FAILED_PROVIDER", "FAILED_AUTH", "FAILED_BILLING"}
WITHIN_OTHERS = frozenset({"delegation", "subagent", "evaluate", "pipeline", "announce"})  # never the top of a tree
AFTER = {"NODE_RESTARTED": "restart", "LEASE_EXPIRED": "lease", "RETRY_ACTOR_CRASH": "crash"}


class Trouble(Struct, frozen=True):
    """Why a run did not reach its answer."""

    err: Err
    reason: str
    kind: str  # of the error, and what it says: equal ones are poison
    message: str
    again: str = ""  # the reason to try again, if that may help

    @property
    def told(self) -> str:
        """What a model may read of it: what the house says of itself stays in the log."""
        return self.message if self.reason in PROVIDERS else text_of(self.err, "en")


class Run(Actor):
    """Its work is one story, told in `live`. `Cancel` ends it at any moment; what it said until then is kept."""

    def __init__(self, claimed: Claimed, engine: Engine) -> None:
        self.run = claimed
        self.engine = engine
        self.draft = Draft()
        self.profile: AgentProfile | None = None
        self.hooks: RunHooks | None = None
        self.comparison: str | None = None  # of a replay, JSON
        self.found = 0  # messages of the history
        self.working = trio.CancelScope()
        self.stopped_by: Cancel | None = None
        self.ending = False  # it hears nothing more
        self.stranger = False  # its user meets the agent for the first time
        self.over = False

    @property
    def belongs_to(self) -> tuple[str, str]:
        return self.run.tenant_id, self.run.user_id

    async def on_start(self, ctx: Context) -> None:
        run = self.run
        self.request = run.request
        self.recorder = Recorder(self.engine.record.level if self.request.replay is None else "off")
        seq = said_in(run.fence - 1)
        self.voice = voice_of(
            ctx, run, stream=self.request.stream, seq=seq, recorder=self.recorder, blocks=self.engine.block_reply
        )
        own, self.tools = self.engine.ownership, self.engine.tools
        calls, box = CallLog(ctx.clock, self.engine.spending.pricing), self.engine.box
        self.journal = RunJournal(ctx, run, self.recorder, self.engine.blobs, self._effect, own, calls, box)
        self.purse = CallPurse(
            ctx,
            self.engine.spending,
            calls,
            tenant=run.tenant_id,
            payers=payers_of(run.user_id, run.agent_key, run.session_key, root_of(run, self.request)),
            run_id=run.run_id,
            fence=run.fence,
            within=self.engine.defaults.llm_timeout_sec,
            max_cost=self.request.max_cost_usd,
            step=lambda: self.draft.step,
            fresh=lambda: run.kind not in WITHIN_OTHERS and self.draft.step == 0,
        )
        self.began = ctx.clock.monotonic()

    async def live(self, ctx: Context) -> None:
        with self.working:
            await self._work(ctx)
        if self.stopped_by is not None and not self.over:
            if self.stopped_by.reason == RELEASE:
                await self._release(ctx)
            else:
                await self._cancelled(ctx, self.stopped_by.reason, self.stopped_by.by)

    def release(self) -> None:
        self.engine.guards.ended(self.run.run_id)

    @handles
    async def cancel(self, ctx: Context, signal: Cancel) -> None:
        """The first reason counts, but nobody goes back into the queue who was told to stop."""
        if self.stopped_by is None or self.stopped_by.reason == RELEASE:
            self.stopped_by = signal
        self.working.cancel()

    @handles
    async def hear(self, ctx: Context, ask: InjectText) -> bool:
        if self.ending or self.stopped_by is not None or self.profile is None or self.draft.closing:
            return False
        return self.journal.tell(ask)

    @handles
    def awaiting(self, _ctx: Context, news: Awaiting) -> None:
        waits = body(phase="thinking", detail=news.what, tool=news.tool, iteration=self.draft.iterations)
        self.voice.say("activity", waits, logged=False)

    # --- the turn -----------------------------------------------------------------------------

    async def _work(self, ctx: Context) -> None:
        run = self.run
        crash_point("run.claimed")
        if run.crash_count:
            after = AFTER.get(run.reason_code or "", "restart")
            self.voice.say("run.recovered", body(attempt=run.attempt, after=after))
            if run.kind in INTERACTIVE and run.age > self.engine.queue.chat_resume_max_age_sec:
                return await self._fail(ctx, unavailable("stale_after_restart"), "STALE_AFTER_RESTART")
        with trio.move_on_after(max(0.0, run.left)) as limit:  # it may have waited for longer than that
            trouble = await self._try(ctx)
        self.ending = True
        if limit.cancelled_caught:
            await self._fail(ctx, agent_timeout(run.age + run.left), "TIMEOUT")
        elif self.over:
            return
        elif trouble is not None:
            await self._troubled(ctx, trouble)
        else:
            await self._succeed(ctx)

    async def _try(self, ctx: Context) -> Trouble | None:
        try:
            await self._answer(ctx)
        except StaleOwner:
            self._lost(ctx)
        except ProviderError as error:
            self.journal.failed(error)
            retry = "RETRY_PROVIDER" if error.retryable else ""
            too_long = "context overflow after compaction: " if error.kind == "context_overflow" else ""
            return Trouble(provider_failed(error), _reason(error), error.kind, too_long + error.message, retry)
        except Rejected as refusal:
            reason = "FAILED_QUOTA" if about_money(refusal.err) else "FAILED_INPUT"
            return Trouble(refusal.err, reason, refusal.err.code, str(refusal.err.details))
        except (StoreError, RuntimeFault) as trouble:
            ctx.log.warning("run.failed", run=self.run.run_id, error=str(trouble))
            kind = type(trouble).__name__
            return Trouble(unavailable("store"), "FAILED_STORE", kind, str(trouble), "RETRY_STORE")
        except LedgerConflict as conflict:
            ctx.log.error("run.ledger_conflict", run=self.run.run_id, error=str(conflict))
            return Trouble(unavailable("ledger_conflict"), "FAILED_LEDGER_CONFLICT", "ledger", str(conflict))
        except OSError as trouble:  # the workspace cannot be made or read: a full disk, a wrong mode
            ctx.log.warning("run.failed", run=self.run.run_id, error=str(trouble))
            return Trouble(unavailable("workspace"), "FAILED_INTERNAL", "OSError", str(trouble))
        return None

    async def _answer(self, ctx: Context) -> None:
        run, request = self.run, self.request
        profile = await ctx.ask(agent(run.tenant_id, run.agent_key), GetProfile(user_id=run.user_id), within=10)
        profile = profile.answering_with(request.provider, request.model)
        rows: list[MessageRow] = []
        if not run.first:
            rows = await ctx.db(sessions.recall, tenant=run.tenant_id, key=run.session_key, limit=HISTORY)
        self.found = sum(1 for row in rows if row.seq)
        self.draft = await self.journal.resume()
        self.profile, self.journal.provider = profile, profile.provider
        crash_point("run.context")
        if request.replay is not None:
            return await self._replay(ctx, request.replay, profile)
        self.voice.say(
            "run.started",
            body(
                message=request.message[:PREVIEW],
                model=profile.model,
                provider=profile.provider,
                truncated=request.truncated,
                queuedMs=int(run.age * 1000),
                attempt=run.attempt,
            ),
        )
        kit = await self.engine.kit(ctx, run, profile)
        self.tools = kit.tools
        reach = self.engine.reach(run, profile, ctx.clock.now, kit.settings)
        calls = ToolCalls(ctx, run.session_key, self.engine.guards.estop, self.engine.durations, self.voice.tool_slow)
        hooks = self.hooks = self._hooks_of(ctx, profile, reach.depth)
        hands = self.engine.guards.box(ctx, kit, run, profile, reach, self.journal, hooks=hooks, through=calls)
        task, self.stranger = await prepared(ctx, self.engine, run, profile, rows, hands.specs, self.draft)
        if hooks is not None and not self.draft.messages:
            task = await submitted(hooks, task, first=not rows)
        self._record(task, profile, rows, hands.specs)
        models = models_of(ctx, profile.candidates, self.purse, run.tenant_id, task.call_timeout)
        clean = self.engine.guards.clean(models, hands, run)
        await answer(task, Thrifty(clean, self._said_so_far), hands, self.journal, self.voice, self.draft)
        self.voice.flush()

    def _hooks_of(self, ctx: Context, profile: AgentProfile, depth: int) -> RunHooks | None:
        """What its steps are shown to."""
        run, works = self.run, self.engine.hooks
        if works is None or self.request.skip_hooks:
            return None
        about = about_run(run, profile.id, depth)
        within = self.engine.defaults.llm_timeout_sec
        model = Logged(models_of(ctx, profile.candidates, self.purse, run.tenant_id, within), self.journal.calls)
        return RunHooks(ctx, works, about, Asking(model, profile.model, works.verdicts, {"run_kind": "hook"}))

    def _effect(self, wanted: ToolCall) -> str:
        return effect_of(self.tools, wanted)

    async def _replay(self, ctx: Context, ask: Replay, profile: AgentProfile) -> None:
        reach = self.engine.reach(self.run, profile, ctx.clock.now) if ask.tools == "pure" else None
        comparison = await replay(ctx, self.engine, self.run, ask, reach, self.journal.calls, self.purse)
        self.comparison = msgspec.json.encode(comparison).decode()
        self.draft.text = f"{comparison.verdict}: {ask.of}"

    def _record(
        self, task: Task, profile: AgentProfile, rows: Sequence[MessageRow], specs: tuple[ToolSpec, ...]
    ) -> None:
        """A life begins: everything it will need that its row, the journal and former records do not say."""
        if self.recorder.level == "off":
            return
        said = [row.seq for row in rows if row.seq]
        shared = {"system": task.system, "tools": specs}
        self.recorder.open(
            msgspec.json.encode(shared, order="sorted").decode(),
            build=__version__,
            level=self.recorder.level,
            provider=profile.provider,
            model=task.model,
            options=msgspec.to_builtins(task.options),
            limits={"iterations": task.max_iterations, "tool_calls": task.max_tool_calls},
            window=profile.context_window,
            pruning=msgspec.to_builtins(self.engine.defaults.context_pruning),
            summary=[[row.role, row.content] for row in rows if not row.seq],  # it has no place in the journal
            history={"first": said[0], "last": said[-1], "without": absent(said)} if said else None,
            given=self.journal.given,
            step=self.draft.step,
            hint=task.hint,
            stream=self.request.stream,
            said=self.voice.seq,
            metadata=task.metadata,
        )

    # --- its end ------------------------------------------------------------------------------

    async def _succeed(self, ctx: Context) -> None:
        draft = self.draft
        result = self._result(
            content=draft.text,
            finish_reason=draft.finish_reason,
            stop_reason=draft.stop_reason,
            silent=draft.silent,
            comparison=self.comparison,
        )
        rows = self._rows(draft.messages)
        self.recorder.end(draft.text, draft.finish_reason)
        kept = self.journal.kept(*self._last_step())

        async def store() -> Depth:
            said = {"result": result, "messages": rows, "kept": kept}
            return await self._end(ctx, runs.succeed, "final", draft.text, said)

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
        if draft.media:
            members["media"] = [{"path": file.path, "content_type": file.mime} for file in draft.media]
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
        if to is None or not text.strip():
            return await ctx.db(end, self.run, **ending)
        depth = await ctx.db(run_replies.ended, end, self.run, to, text=text, kind=kind, ending=ending)
        ctx.tell(OUTBOX, Post())
        return depth

    def _last_step(self) -> list[Step]:
        """The answer as a step. It is stored with the run's end, in one commit."""
        if not self.draft.messages:
            return []
        message = msgspec.Raw(msgspec.json.encode(self.draft.messages[-1]))
        return [Step(step_no=self.draft.step, kind="llm", message=message)]

    async def _troubled(self, ctx: Context, trouble: Trouble) -> None:
        """An error that may pass is tried again, unless it came too often; any other ends the run."""
        run = self.run
        print_ = fingerprint(trouble.kind, trouble.message)
        fault = Fault(fingerprint=print_, alike=run.fingerprint_count + 1 if run.fingerprint == print_ else 1)
        if not trouble.again:
            return await self._fail(ctx, trouble.err, trouble.reason, trouble.message, fault=fault)
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
        await self._fail(ctx, trouble.err, trouble.reason, trouble.message, fault=fault, dead=fate.dead)

    async def _retry(self, ctx: Context, trouble: Trouble, fault: Fault, delay: float) -> None:
        self._interrupt()
        kept = self.journal.kept()

        async def store() -> Depth:
            return await ctx.db(
                runs.retry,
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

    async def _fail(
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
        rows = self._rows([*said, *self.journal.unheard()])
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
            return await self._end(ctx, runs.fail, "notice", text_of(err, "en"), said)

        if not await self._commit(ctx, store, kept):
            return
        if dead is not None:
            ctx.system.meter.count("run_dead_letter_total", dead)
        self.voice.say("run.failed", failure(err, draft.text), result=result)
        self._leave(ctx)

    async def _cancelled(self, ctx: Context, why: str, by: str, reason: str = "CANCELED") -> None:
        self.ending = True
        self._interrupt()
        draft, run = self.draft, self.run
        messages = [*draft.messages, *self.journal.unheard()]
        if draft.text and not (messages and messages[-1].content == draft.text):
            messages.append(ChatMessage(role="assistant", content=draft.text))
        result = self._result(content=draft.text, finish_reason="cancelled", cancelled=True)
        rows = self._rows(messages, cancelled=True)
        kept = self.journal.kept()

        async def store() -> Depth:
            return await ctx.db(runs.cancel, run, result=result, reason=reason, messages=rows, kept=kept)

        if not await self._commit(ctx, store, kept):
            return
        self.voice.say("run.cancelled", body(reason=why, by=by), result=result)
        usage = on_socket(draft.usage, cost=result.cost_usd)
        echo = body(content=draft.text, cancelled=True, finishReason="cancelled", echo=True, usage=usage)
        self.voice.say("run.completed", echo)  # older web clients wait for it (wire-compat.md A6)
        self._leave(ctx)

    def _interrupt(self) -> None:
        interrupt(self.voice, self.draft, begun=self.journal.on_its_way)

    async def _release(self, ctx: Context) -> None:
        run, calls = self.run, self.journal.calls
        kept = Kept(calls=calls.waiting(), payers=calls.payers)

        async def store() -> Depth:
            return await ctx.db(runs.put_back, run, reason="RELEASE_SHUTDOWN", kept=kept)

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
                await self._cancelled(ctx, stop_reason(wish.reason if wish else ""), wish.by if wish else "")
            case "reset":
                await self._cancelled(ctx, "user", "", "LANE_CLEARED")
            case _:
                self._lost(ctx)

    def _lost(self, ctx: Context) -> None:
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

    def _said_so_far(self) -> str:
        """The last words to the user in this run, if there were any."""
        said = (message.content for message in reversed(self.draft.messages) if message.role == "assistant")
        return next((text for text in said if text.strip()), "")

    def _rows(self, said: Sequence[ChatMessage], *, cancelled: bool = False) -> list[NewMessage]:
        if self.request.replay is not None:
            return []  # it leaves nothing behind but its row
        offline = self.draft.offline
        return rows_of(self.run, self.request, said, self.profile, offline=offline, cancelled=cancelled)


def root_of(run: Claimed, request: RunRequest) -> str:
    """The run at the top of its tree, whose purse pays."""
    below = request.child_of
    return below.root if below is not None and run.kind == "subagent" else run.run_id


def absent(numbers: Sequence[int]) -> list[int]:
    """What is missing between the first and the last of them."""
    return sorted(set(range(numbers[0], numbers[-1])) - set(numbers))


def failure(err: Err, partial: str) -> Any:
    """The payload of run.failed."""
    members: dict[str, Any] = {
        "error": text_of(err, "en"),
        "code": err.code,
        "reason": err.details.get("reason"),
        "retryable": err.retryable,
    }
    if partial:
        members["partial"] = partial
    return body(**members)


def _reason(error: ProviderError) -> str:
    match error.kind:
        case "auth" | "auth_permanent":
            return "FAILED_AUTH"
        case "billing":
            return "FAILED_BILLING"
        case _:
            return "FAILED_PROVIDER"
