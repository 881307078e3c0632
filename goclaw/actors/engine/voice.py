"""How a run is heard: every step as an event, numbered, to the run's readers, its user and the admins.

Contract: edge-websocket.md §8.1–8.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from goclaw.agent.recorder import Recorder
from goclaw.domain.chat import ToolCall
from goclaw.domain.cluster import MARKS, Marked, run_topic
from goclaw.domain.events import RUNS, RunEvent, body, of_admins, of_run, of_user
from goclaw.domain.model import FellBack, Note, OwnTool, Retrying
from goclaw.domain.run import RunKind, RunResult
from goclaw.runtime.actor import Context
from goclaw.security.receipts import unreceipted
from goclaw.stores.runs import Claimed
from goclaw.tools.ledger import ToolResult

ARGUMENTS = 8192  # bytes shown of a call's arguments
PREVIEW = 1000  # characters shown of a result
STATUS = {"run.completed": "SUCCEEDED", "run.failed": "FAILED", "run.cancelled": "CANCELED"}  # as runs are counted
LIFE = 100_000  # event numbers for each time a run is claimed; the next life goes on above all the last one said


def said_in(lives: int) -> int:
    """The number that no event of a run is above when it has been claimed so often. Its first, run.queued, is 1."""
    return 1 + lives * LIFE


def voice_of(
    ctx: Context,
    run: Claimed,
    *,
    seq: int,
    stream: bool = True,
    recorder: Recorder | None = None,
    quiet: bool = False,
    blocks: bool = False,
) -> Voice:
    """The voice of a claimed run, whose next event is number `seq` + 1."""
    return Voice(
        ctx,
        run_id=run.run_id,
        tenant_id=run.tenant_id,
        user_id=run.user_id,
        agent_key=run.agent_key,
        session_key=run.session_key,
        kind=run.kind,
        stream=stream,
        seq=seq,
        recorder=recorder,
        quiet=quiet,
        blocks=blocks,
    )


class Voice:
    """Publishes the events of one run in order. Never waits for a reader. `quiet`: tells the recorder alone."""

    def __init__(
        self,
        ctx: Context,
        *,
        run_id: str,
        tenant_id: str,
        user_id: str,
        agent_key: str,
        session_key: str,
        kind: RunKind,
        stream: bool = True,
        seq: int = 0,
        recorder: Recorder | None = None,
        quiet: bool = False,
        blocks: bool = False,
    ) -> None:
        self._ctx = ctx
        self._recorder = recorder
        self._stream = stream
        self._blocks = blocks
        self._held = ""  # text of the current segment while not streaming
        self.seq = seq
        self._groups = () if quiet else (RUNS, of_run(run_id), of_user(tenant_id, user_id), of_admins(tenant_id))
        self._facts: dict[str, Any] = {
            "run_id": run_id,
            "tenant_id": tenant_id,
            "user_id": user_id,
            "agent_key": agent_key,
            "session_key": session_key,
            "kind": kind,
        }

    def say(
        self,
        type: str,
        payload: msgspec.Raw | None = None,
        text: str = "",
        result: RunResult | None = None,
        *,
        logged: bool = True,
        **more: Any,
    ) -> None:
        """`logged`: part of what a replay repeats."""
        self.seq += 1
        if payload is None:
            payload = body()
        if self._recorder is not None and logged:
            self._recorder.event(type, self.seq, text, bytes(payload))
        event = RunEvent(
            type=type,
            run_seq=self.seq,
            ts=self._ctx.clock.epoch_ms(),
            text=text,
            body=payload,
            result=result,
            **self._facts,
            **more,
        )
        for group in self._groups:
            self._ctx.publish(group, event)
        if result is not None and type in STATUS:
            facts = self._facts
            self._ctx.system.meter.count("runs_total", facts["agent_key"], facts["kind"], STATUS[type])
        if result is not None:
            self._ctx.publish(MARKS, Marked(kind="cache", topic=run_topic(event.run_id)))

    def flush(self) -> None:
        """Without streaming: the whole text of the segment as one chunk."""
        if self._held:
            self.say("chunk", text=self._held)
            self._held = ""

    # --- what the loop tells ------------------------------------------------------------------

    def activity(self, phase: str, iteration: int, tools: Sequence[str] = ()) -> None:
        if tools:
            self.flush()
            self.say("activity", body(phase=phase, iteration=iteration, tool=tools[0], tools=tools))
        else:
            self.say("activity", body(phase=phase, iteration=iteration))

    def chunk(self, text: str) -> None:
        if self._stream:
            self.say("chunk", text=text)
        else:
            self._held += text

    def thinking(self, text: str) -> None:
        if self._stream:
            self.say("thinking", text=text)

    def block(self, text: str) -> None:
        """What an agent said beside its calls, as a message of its own."""
        if self._blocks:
            self.flush()
            self.say("block.reply", body(content=text))

    def loop(self, what: str, facts: dict[str, Any]) -> None:
        """How a run that goes on by itself does."""
        match what:
            case "started":
                self.say("loop.started", body(**facts))
            case "step":
                self.say("loop.step", body(**facts))
            case "completed":
                self.say("loop.completed", body(**facts))
            case "budget_exceeded":
                self.say("loop.budget_exceeded", body(**facts))
            case "timeout":
                self.say("loop.timeout", body(**facts))
            case "failed":
                self.say("loop.failed", body(**facts))

    def tool_call(self, call: ToolCall, iteration: int, *, logged: bool = True) -> None:
        arguments: dict[str, Any] = call.arguments
        if truncated := len(msgspec.json.encode(arguments)) > ARGUMENTS:
            arguments = {
                "preview": msgspec.json.encode(arguments, order="sorted")[:ARGUMENTS].decode("utf-8", "ignore")
            }
        self.say(
            "tool.call",
            body(id=call.id, name=call.name, arguments=arguments, iteration=iteration, truncated=truncated),
            logged=logged,
        )

    def tool_result(self, call: ToolCall, result: ToolResult, *, logged: bool = True) -> None:
        text = unreceipted(result.text)
        preview = (result.for_user or text)[:PREVIEW]
        members: dict[str, Any] = {
            "id": call.id,
            "name": call.name,
            "is_error": result.is_error,
            "isError": result.is_error,
            "result": preview,
            "preview": preview,
            "durationMs": result.duration_ms,
        }
        if result.is_error:
            members["content"] = text
        if result.silent:
            members["silent"] = True
        self.say("tool.result", body(**members), logged=logged)

    def tool_slow(self, name: str, id: str, seconds: float) -> None:
        """A call takes longer than is usual. No part of what a replay repeats."""
        self.say("tool.slow", body(id=id, name=name, seconds=seconds), logged=False)

    def note(self, note: Note) -> None:
        match note:
            case Retrying():
                delay = int(note.delay * 1000)
                retry = {"attempt": note.attempt, "maxAttempts": note.most, "delayMs": delay, "error": note.error}
                self.say("run.retrying", body(**retry))
            case FellBack():
                first, then = note.wanted.partition(":")[0], note.now.partition(":")[0]
                self._ctx.system.meter.count("llm_fallbacks_total", first, then, note.trouble)
                self.say("provider.fallback", body(**{"from": note.wanted, "to": note.now, "reason": note.trouble}))
            case OwnTool():
                call = ToolCall(id=note.id, name=note.name, arguments=note.arguments)
                if note.ended:
                    self.tool_result(call, ToolResult(text=note.text, is_error=note.is_error), logged=False)
                else:
                    self.flush()
                    self.tool_call(call, 0, logged=False)  # of no iteration of ours
