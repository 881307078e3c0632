"""One execution of one run: from its claim to its last commit.

Address   /engine/lanes/{lane}/{run_id}
Contract  durability.md §3, §4; agent-loop.md §3, §14
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import trio

from goclaw.actors.engine.engine import Engine
from goclaw.actors.engine.voice import said_in, voice_of
from goclaw.actors.engine.waits import again
from goclaw.agent.history import Remembered, chat_messages
from goclaw.agent.loop import Draft, Task, answer, interrupt
from goclaw.agent.prompt import system_prompt
from goclaw.domain.address import agent, lane, provider, session
from goclaw.domain.agent import AgentProfile, GetProfile
from goclaw.domain.chat import ChatMessage, ChatOptions
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
from goclaw.domain.ids import new_id
from goclaw.domain.model import BorrowProvider
from goclaw.domain.run import PREVIEW, RunResult
from goclaw.domain.session import RunEnded, RunLost
from goclaw.domain.texts import text_of
from goclaw.domain.tokens import estimate
from goclaw.domain.usage import on_socket
from goclaw.providers.provider import Provider
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.faults import NoSuchActor, RuntimeFault
from goclaw.runtime.message import Cancel, Message
from goclaw.stores import runs, sessions
from goclaw.stores.runs import Claimed, Depth, StaleOwner
from goclaw.stores.sessions import MessageRow, NewMessage
from goclaw.tools.tool import ToolContext

HISTORY = 400  # messages read for a turn; the prompt takes what fits
COMMIT_TRIES = 6  # the last commit of a run is worth waiting for a database that comes back
RELEASE = "release"  # reason of a cancel that puts the run back into the queue


class Work(Message[None]):
    """Begin."""


class Run(Actor):
    """`Cancel` stops it at any moment; what it said until then is kept."""

    preemptible = True

    def __init__(self, claimed: Claimed, engine: Engine) -> None:
        self.run = claimed
        self.engine = engine
        self.draft = Draft()
        self.over = False

    @property
    def belongs_to(self) -> tuple[str, str]:
        return self.run.tenant_id, self.run.user_id

    async def on_start(self, ctx: Context) -> None:
        run = self.run
        self.voice = voice_of(ctx, run, stream=run.request.stream, seq=said_in(run.fence - 1))
        self.began = ctx.clock.monotonic()
        ctx.tell(ctx.address, Work())

    @handles
    async def work(self, ctx: Context, _go: Work) -> None:
        if self.over:
            return
        run = self.run
        if run.crash_count:
            self.voice.say("run.recovered", body(attempt=run.attempt, after="restart"))
            if run.kind == "chat" and run.age > self.engine.queue.chat_resume_max_age_sec:
                return await self._fail(ctx, unavailable("stale_after_restart"), "STALE_AFTER_RESTART")
        left = max(0.0, self.engine.defaults.run_timeout_sec - run.age)  # it may have waited for longer than that
        with trio.move_on_after(left) as limit:
            try:
                await self._answer(ctx)
            except ProviderError as error:
                return await self._fail(ctx, provider_failed(error), _reason(error))
            except Rejected as refusal:
                return await self._fail(ctx, refusal.err, "FAILED_INPUT")
            except (StoreError, RuntimeFault) as trouble:
                ctx.log.warning("run.failed", run=run.run_id, error=str(trouble))
                return await self._fail(ctx, unavailable("store"), "FAILED_STORE")
            except OSError as trouble:  # the workspace cannot be made or read: a full disk, a wrong mode
                ctx.log.warning("run.failed", run=run.run_id, error=str(trouble))
                return await self._fail(ctx, unavailable("workspace"), "FAILED_INTERNAL")
        if limit.cancelled_caught:
            return await self._fail(ctx, agent_timeout(self.engine.defaults.run_timeout_sec), "TIMEOUT")
        await self._succeed(ctx)

    @handles
    async def cancelled(self, ctx: Context, signal: Cancel) -> None:
        """Whatever ran has just been cancelled, or has not begun."""
        if self.over:
            return
        if signal.reason == RELEASE:
            return await self._release(ctx)
        interrupt(self.voice, self.draft)
        draft, run = self.draft, self.run
        messages = [*draft.messages]
        if draft.text and not (messages and messages[-1].content == draft.text):
            messages.append(ChatMessage(role="assistant", content=draft.text))
        result = self._result(content=draft.text, finish_reason="cancelled", cancelled=True)
        rows = self._rows(messages, cancelled=True)

        async def store() -> Depth:
            return await ctx.db(runs.cancel, run, result=result, reason="CANCELED", messages=rows)

        if not await self._commit(ctx, store):
            return
        self.voice.say("run.cancelled", body(reason=signal.reason, by=signal.by), result=result)
        usage = on_socket(draft.usage, offline=draft.offline)
        echo = body(content=draft.text, cancelled=True, finishReason="cancelled", echo=True, usage=usage)
        self.voice.say("run.completed", echo)  # older web clients wait for it (wire-compat.md A6)
        self._leave(ctx)

    # --- the turn -----------------------------------------------------------------------------

    async def _answer(self, ctx: Context) -> None:
        run, request = self.run, self.run.request
        profile = await ctx.ask(agent(run.tenant_id, run.agent_key), GetProfile(), within=10)
        try:
            model: Provider = await ctx.ask(provider(profile.provider), BorrowProvider(), within=5)
        except NoSuchActor:
            raise Rejected(unavailable("unknown_provider", provider=profile.provider)) from None
        rows: list[MessageRow] = []
        if not run.first:
            rows = await ctx.db(sessions.history, tenant=run.tenant_id, key=run.session_key, limit=HISTORY)
        self.profile = profile
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
        tools = self.engine.tools if request.use_tools else {}
        workspace = self.engine.workspace(profile, run.user_id)
        tool_ctx = ToolContext(workspace, ctx.clock.now, self.engine.defaults.timezone)
        remembered = [Remembered(role=row.role, content=row.content, payload=row.payload) for row in rows]
        await answer(
            self._task(ctx, profile, chat_messages(remembered, profile.context_window)),
            model,
            tools,
            tool_ctx,
            self.voice,
            self.draft,
        )
        self.voice.flush()

    def _task(self, ctx: Context, profile: AgentProfile, history: list[ChatMessage]) -> Task:
        defaults, request = self.engine.defaults, self.run.request
        specs = [tool.spec for tool in self.engine.tools.values()] if request.use_tools else []
        return Task(
            model=profile.model,
            system=system_prompt(profile, specs, ctx.clock.now(), request.instructions),
            history=(*history, ChatMessage(role="user", content=request.message)),
            options=request.options or ChatOptions(max_tokens=defaults.max_tokens, temperature=defaults.temperature),
            metadata={"run_kind": self.run.kind, "agent": profile.key, "session": self.run.session_key},
            max_iterations=profile.max_tool_iterations,
            max_tool_calls=defaults.max_tool_calls,
            call_timeout=defaults.llm_timeout_sec,
        )

    # --- its end ------------------------------------------------------------------------------

    async def _succeed(self, ctx: Context) -> None:
        draft, run = self.draft, self.run
        result = self._result(content=draft.text, finish_reason=draft.finish_reason)
        rows = self._rows(draft.messages)

        async def store() -> Depth:
            return await ctx.db(runs.succeed, run, result=result, messages=rows)

        if not await self._commit(ctx, store):
            return
        members: dict[str, Any] = {
            "content": draft.text,
            "usage": on_socket(draft.usage, offline=draft.offline),
            "finishReason": draft.finish_reason,
            "durationMs": int((ctx.clock.monotonic() - self.began) * 1000),
            "iterations": draft.iterations,
            "toolCalls": draft.tool_calls,
        }
        if draft.offline:
            members["offline"] = True
        self.voice.say("run.completed", body(**members), result=result)
        self._leave(ctx)

    async def _fail(self, ctx: Context, err: Err, reason: str) -> None:
        draft, run = self.draft, self.run
        interrupt(self.voice, draft)
        result = self._result(content=draft.text, error=err)
        rows = self._rows([])

        async def store() -> Depth:
            return await ctx.db(
                runs.fail, run, result=result, reason=reason, error=f"{err.code} {err.details}", messages=rows
            )

        if not await self._commit(ctx, store):
            return
        self.voice.say("run.failed", failure(err, draft.text), result=result)
        self._leave(ctx)

    async def _release(self, ctx: Context) -> None:
        run = self.run

        async def store() -> Depth:
            return await ctx.db(runs.put_back, run, reason="RELEASE_SHUTDOWN")

        if await self._commit(ctx, store):
            result = self._result(error=unavailable("shutting_down", runId=run.run_id))
            self.voice.say("run.released", result=result)
            self._leave(ctx)

    async def _commit(self, ctx: Context, store: Callable[[], Awaitable[Depth]]) -> bool:
        """The last write of a run: not to be cancelled, and worth some patience with the database.

        False if somebody else owns the run by now. A database that stays away ends in a crash: the run is
        recovered when it is back.
        """
        with trio.CancelScope(shield=True):
            for attempt in range(1, COMMIT_TRIES + 1):
                try:
                    depth = await store()
                except StaleOwner:
                    ctx.log.warning("run.stale", run=self.run.run_id)
                    self.over = True
                    ctx.tell(session(self.run.tenant_id, self.run.session_key), RunLost())
                    ctx.stop()
                    return False
                except StoreError as trouble:
                    if await self._stored(ctx, trouble):
                        depth = Depth(1, 0)
                    elif attempt == COMMIT_TRIES:
                        raise
                    else:
                        await trio.sleep(0.1 * 2**attempt)
                        continue
                self.over = True
                if depth.queued:
                    ctx.tell(lane(self.run.lane), again(self.run))
                return True
        return False

    async def _stored(self, ctx: Context, trouble: StoreError) -> bool:
        """After a commit of unknown outcome: did it happen?"""
        if trouble.kind != "commit_unknown":
            return False
        try:
            return await ctx.db(runs.left, self.run)
        except StoreError:
            return False

    def _leave(self, ctx: Context) -> None:
        ctx.tell(session(self.run.tenant_id, self.run.session_key), RunEnded(run_id=self.run.run_id))
        ctx.stop()

    def _result(self, **members: Any) -> RunResult:
        run, draft = self.run, self.draft
        return RunResult(
            run_id=run.run_id, session_key=run.session_key, usage=draft.usage, offline=draft.offline, **members
        )

    def _rows(self, said: Sequence[ChatMessage], *, cancelled: bool = False) -> list[NewMessage]:
        """The turn as history: what the user said, and all that followed."""
        run = self.run
        rows = [
            NewMessage(
                id=str(uuid.uuid5(uuid.UUID(run.run_id), "user")),  # the same in every attempt
                role="user",
                content=run.request.message,
                payload={"sender": {"id": run.user_id}},
                token_estimate=estimate(run.request.message),
            )
        ]
        for message in said:
            rows.append(self._row(message, cancelled=cancelled and message is said[-1]))
        return rows

    def _row(self, message: ChatMessage, *, cancelled: bool) -> NewMessage:
        payload: dict[str, Any]
        if message.role == "tool":
            payload = {"tool_call_id": message.tool_call_id, "name": message.tool_name, "is_error": message.is_error}
            return NewMessage(id=new_id(), role="tool", content=message.content, payload=payload)
        payload = {"model": self.profile.model, "provider": self.profile.provider}
        if message.thinking:
            payload["thinking"] = message.thinking
        if message.tool_calls:
            payload["tool_calls"] = message.tool_calls
        if self.draft.offline:
            payload["offline"] = True
        if cancelled:
            payload["cancelled"] = True
        tokens = estimate(message.content)
        return NewMessage(
            id=new_id(), role="assistant", content=message.content, payload=payload, token_estimate=tokens
        )


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
        case "auth":
            return "FAILED_AUTH"
        case "quota":
            return "FAILED_BILLING"
        case _:
            return "FAILED_PROVIDER"
