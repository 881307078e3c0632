"""One execution of one run: from its claim to its last commit.

Address   /engine/lanes/{lane}/{run_id}
Contract  durability.md §3, §4, §6, §8; agent-loop.md §3, §14, §15
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import trio

from goclaw import __version__
from goclaw.actors.engine.calls import CallLog, Logged
from goclaw.actors.engine.desk import models_of
from goclaw.actors.engine.engine import Engine
from goclaw.actors.engine.hooks import RunHooks, about_run, submitted
from goclaw.actors.engine.journal import RunJournal
from goclaw.actors.engine.life import Life
from goclaw.actors.engine.mending import mend
from goclaw.actors.engine.prepare import prepared, pruning_of
from goclaw.actors.engine.progress import RunProgress
from goclaw.actors.engine.purse import CallPurse, Thrifty
from goclaw.actors.engine.replay import replay
from goclaw.actors.engine.tool_calls import ToolCalls
from goclaw.actors.engine.trouble import Trouble, trouble_of
from goclaw.actors.engine.voice import said_in, voice_of
from goclaw.agent.loop import answer
from goclaw.agent.recorder import Recorder
from goclaw.agent.turn import Task
from goclaw.domain.address import agent
from goclaw.domain.agent import AgentProfile, GetProfile
from goclaw.domain.budget import payers_of
from goclaw.domain.chat import ToolCall, ToolSpec
from goclaw.domain.errors import (
    ProviderError,
    Rejected,
    StoreError,
    agent_timeout,
    unavailable,
)
from goclaw.domain.events import body
from goclaw.domain.hint_texts import hint, locale_of
from goclaw.domain.run import INTERACTIVE, PREVIEW, Awaiting, InjectText, Replay, RunRequest
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.crashpoint import crash_point
from goclaw.runtime.faults import RuntimeFault
from goclaw.runtime.message import Cancel
from goclaw.stores import sessions
from goclaw.stores.runs import Claimed, StaleOwner
from goclaw.stores.sessions import MessageRow
from goclaw.tools.hooks.prompt import Asking
from goclaw.tools.ledger import LedgerConflict
from goclaw.tools.pipeline import effect_of

HISTORY = 400  # messages read for a turn; the prompt takes what fits
RELEASE = "release"  # reason of a cancel that puts the run back into the queue
WITHIN_OTHERS = frozenset({"delegation", "subagent", "evaluate", "pipeline", "announce"})  # never the top of a tree
AFTER = {"NODE_RESTARTED": "restart", "LEASE_EXPIRED": "lease", "RETRY_ACTOR_CRASH": "crash"}


class Run(Actor):
    """Its work is one story, told in `live`. `Cancel` ends it at any moment; what it said until then is kept."""

    def __init__(self, claimed: Claimed, engine: Engine) -> None:
        self.run = claimed
        self.engine = engine
        self.working = trio.CancelScope()
        self.limit = trio.CancelScope()  # of time
        self.stopped_by: Cancel | None = None

    @property
    def belongs_to(self) -> tuple[str, str]:
        return self.run.tenant_id, self.run.user_id

    async def on_start(self, ctx: Context) -> None:
        run, engine = self.run, self.engine
        self.request = request = run.request
        recorder = Recorder(engine.record.level if request.replay is None else "off")
        seq = said_in(run.fence - 1)
        voice = voice_of(ctx, run, stream=request.stream, seq=seq, recorder=recorder, blocks=engine.block_reply)
        self.tools = engine.tools
        calls = CallLog(ctx.clock, engine.spending.pricing)
        journal = RunJournal(ctx, run, recorder, engine.blobs, self._effect, engine.ownership, calls, engine.box)
        self.purse = CallPurse(
            ctx,
            engine.spending,
            calls,
            tenant=run.tenant_id,
            payers=payers_of(run.user_id, run.agent_key, run.session_key, root_of(run, request)),
            run_id=run.run_id,
            fence=run.fence,
            within=engine.defaults.llm_timeout_sec,
            figures=request.role == "admin",
            max_cost=request.max_cost_usd,
            step=lambda: self.life.draft.step,
            fresh=lambda: run.kind not in WITHIN_OTHERS and self.life.draft.step == 0,
        )
        self.life = Life(run, request, engine, recorder, voice, journal, began=ctx.clock.monotonic())

    async def live(self, ctx: Context) -> None:
        with self.working:
            await self._work(ctx)
        if self.stopped_by is not None and not self.life.over:
            if self.stopped_by.reason == RELEASE:
                await self.life.release(ctx)
            else:
                await self.life.cancelled(ctx, self.stopped_by.reason, self.stopped_by.by)

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
        life = self.life
        if life.deaf or self.stopped_by is not None or life.profile is None or life.draft.closing:
            return False
        return life.journal.tell(ask)

    @handles
    def awaiting(self, _ctx: Context, news: Awaiting) -> None:
        waits = body(phase="thinking", detail=news.what, tool=news.tool, iteration=self.life.draft.iterations)
        self.life.voice.say("activity", waits, logged=False)

    # --- the turn -----------------------------------------------------------------------------

    async def _work(self, ctx: Context) -> None:
        run = self.run
        crash_point("run.claimed")
        if run.crash_count:
            after = AFTER.get(run.reason_code or "", "restart")
            self.life.voice.say("run.recovered", body(attempt=run.attempt, after=after))
            if run.kind in INTERACTIVE and run.age > self.engine.queue.chat_resume_max_age_sec:
                return await self.life.fail(ctx, unavailable("stale_after_restart"), "STALE_AFTER_RESTART")
        with trio.move_on_after(max(0.0, run.left)) as limit:  # it may have waited for longer than that
            self.limit = limit
            trouble = await self._try(ctx)
        self.life.deaf = True
        if limit.cancelled_caught:
            await self.life.fail(ctx, agent_timeout(run.age + run.left), "TIMEOUT")
        elif self.life.over:
            return
        elif trouble is not None:
            await self.life.troubled(ctx, trouble)
        else:
            await self.life.succeed(ctx)

    async def _try(self, ctx: Context) -> Trouble | None:
        try:
            await self._answer(ctx)
        except StaleOwner:
            self.life.lost(ctx)
        except ProviderError as error:
            self.life.journal.failed(error)
            return trouble_of(error)
        except Rejected as refusal:
            return trouble_of(refusal)
        except LedgerConflict as conflict:
            ctx.log.error("run.ledger_conflict", run=self.run.run_id, error=str(conflict))
            return trouble_of(conflict)
        except (StoreError, RuntimeFault, OSError) as weather:
            ctx.log.warning("run.failed", run=self.run.run_id, error=str(weather))
            return trouble_of(weather)
        return None

    async def _answer(self, ctx: Context) -> None:
        run, request, engine, life = self.run, self.request, self.engine, self.life
        journal, voice = life.journal, life.voice
        profile = await ctx.ask(agent(run.tenant_id, run.agent_key), GetProfile(user_id=run.user_id), within=10)
        profile = profile.answering_with(request.provider, request.model)
        rows: list[MessageRow] = []
        if not run.first:
            understood = hint("understood", locale_of(profile.language, request.locale))
            here = {"tenant": run.tenant_id, "key": run.session_key}
            rows = await ctx.db(sessions.recall, **here, limit=HISTORY, understood=understood)
            await mend(ctx, run, rows, HISTORY)
        life.found = sum(1 for row in rows if row.seq)
        life.draft = await journal.resume()
        life.profile, journal.provider = profile, profile.provider
        crash_point("run.context")
        if request.replay is not None:
            return await self._replay(ctx, request.replay, profile)
        voice.say(
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
        kit = await engine.kit(ctx, run, profile)
        self.tools = kit.tools
        reach = replace(engine.reach(run, profile, ctx.clock.now, kit.settings), progress=RunProgress(ctx, life))
        reach.delivered.update(file.path for file in life.draft.media)
        guards = engine.guards
        calls = ToolCalls(ctx, run.session_key, guards.estop, engine.durations, voice.tool_slow)
        hooks = life.hooks = self._hooks_of(ctx, profile, reach.depth)
        hands = guards.box(ctx, kit, run, profile, reach, journal, hooks=hooks, through=calls, heard=voice)
        task, life.stranger = await prepared(ctx, engine, run, profile, rows, hands.specs, life.draft)
        if hooks is not None and not life.draft.messages:
            task = await submitted(hooks, task, first=not rows)
        if (loop := task.loop) is not None:
            journal.loop = loop
            self.limit.deadline = min(self.limit.deadline, trio.current_time() + loop.max_duration - run.age)
        self._record(task, profile, rows, hands.specs)
        models = models_of(ctx, profile.candidates, self.purse, run.tenant_id, task.call_timeout)
        clean = guards.clean(models, hands, run)
        await answer(task, Thrifty(clean, life.said_so_far), hands, journal, voice, life.draft)
        voice.flush()

    def _hooks_of(self, ctx: Context, profile: AgentProfile, depth: int) -> RunHooks | None:
        """What its steps are shown to."""
        run, works = self.run, self.engine.hooks
        if works is None or self.request.skip_hooks:
            return None
        about = about_run(run, profile.id, depth)
        within = self.engine.defaults.llm_timeout_sec
        model = Logged(models_of(ctx, profile.candidates, self.purse, run.tenant_id, within), self.life.journal.calls)
        return RunHooks(ctx, works, about, Asking(model, profile.model, works.verdicts, {"run_kind": "hook"}))

    def _effect(self, wanted: ToolCall) -> str:
        return effect_of(self.tools, wanted)

    async def _replay(self, ctx: Context, ask: Replay, profile: AgentProfile) -> None:
        reach = self.engine.reach(self.run, profile, ctx.clock.now) if ask.tools == "pure" else None
        comparison = await replay(ctx, self.engine, self.run, ask, reach, self.life.journal.calls, self.purse)
        self.life.comparison = msgspec.json.encode(comparison).decode()
        self.life.draft.text = f"{comparison.verdict}: {ask.of}"

    def _record(
        self, task: Task, profile: AgentProfile, rows: Sequence[MessageRow], specs: tuple[ToolSpec, ...]
    ) -> None:
        """A life begins: everything it will need that its row, the journal and former records do not say."""
        life = self.life
        if life.recorder.level == "off":
            return
        said = [row.seq for row in rows if row.seq]
        shared = {"system": task.system, "tools": specs}
        life.recorder.open(
            msgspec.json.encode(shared, order="sorted").decode(),
            build=__version__,
            level=life.recorder.level,
            provider=profile.provider,
            model=task.model,
            options=msgspec.to_builtins(task.options),
            limits={"iterations": task.max_iterations, "tool_calls": task.max_tool_calls, "loop": task.loop},
            locale=task.locale,
            window=profile.context_window,
            pruning=msgspec.to_builtins(pruning_of(self.engine.defaults, profile)),
            summary=[[row.role, row.content, row.payload] for row in rows if not row.seq],  # not in the journal
            history={"first": said[0], "last": said[-1], "without": absent(said)} if said else None,
            given=life.journal.given,
            step=life.draft.step,
            hint=task.hint,
            stream=self.request.stream,
            said=life.voice.seq,
            metadata=task.metadata,
        )


def root_of(run: Claimed, request: RunRequest) -> str:
    """The run at the top of its tree, whose purse pays."""
    below = request.child_of
    return below.root if below is not None and run.kind == "subagent" else run.run_id


def absent(numbers: Sequence[int]) -> list[int]:
    """What is missing between the first and the last of them."""
    return sorted(set(range(numbers[0], numbers[-1])) - set(numbers))
