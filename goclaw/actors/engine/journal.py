"""A run's memory in the store: steps before they are acted on, effects before they are made, records with both.

Contract: durability.md §7.2, §8, §16.1; the loop's and the tools' ports `Journal` and `Ledger`.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import trio
from msgspec import Struct

from goclaw.actors.engine.calls import CallLog
from goclaw.agent.act import result_of
from goclaw.agent.looping import done
from goclaw.agent.recorder import Recorder, Row
from goclaw.agent.turn import Draft, resumed
from goclaw.domain.address import BUDGETS
from goclaw.domain.budget import Settled
from goclaw.domain.chat import ChatMessage, ChatRequest, ChatResponse, StreamChunk, ToolCall, Usage
from goclaw.domain.cluster import Ownership
from goclaw.domain.errors import ProviderError, StoreError
from goclaw.domain.loop import Loop
from goclaw.domain.run import InjectText
from goclaw.runtime.actor import Context
from goclaw.runtime.crashpoint import crash_point
from goclaw.security.box import Box
from goclaw.security.box import Place as SealedPlace
from goclaw.stores import model_calls, run_steps, session_queue
from goclaw.stores.run_kept import Blob, Kept, Record, Step
from goclaw.stores.run_steps import Counters, NewEffect, Outcome
from goclaw.stores.runs import Claimed
from goclaw.tools.ledger import Begun, Media, Past, Place, ToolResult

BLOBS = 256  # shared texts this node knows to be stored, most recent first
HELD_LOOK = 0.25  # seconds between two looks whether a quarantine is over
OWN = "loop:"  # ids of texts a run tells itself; those of others are ids of runs, or name a tenant
TRIES = 3  # of a write while the database is away; durability.md §6.1


class KnownBlobs:
    """Hashes of texts that are in the store already, so that every turn does not send its prompt again."""

    def __init__(self) -> None:
        self._known: dict[str, None] = {}

    def __contains__(self, digest: str) -> bool:
        return digest in self._known

    def add(self, digest: str) -> None:
        self._known[digest] = None
        while len(self._known) > BLOBS:
            del self._known[next(iter(self._known))]


class _Files(Struct):
    """What a step brought besides its message."""

    media: tuple[Media, ...] = ()


class RunJournal:
    """`effect_of` names the effect class of a call."""

    def __init__(
        self,
        ctx: Context,
        run: Claimed,
        recorder: Recorder,
        blobs: KnownBlobs,
        effect_of: Callable[[ToolCall], str],
        own: Ownership,
        calls: CallLog,
        box: Box,
    ) -> None:
        self._ctx = ctx
        self._run = run
        self.recorder = recorder
        self.calls = calls
        self.provider = ""  # who is asked
        self.loop: Loop | None = None  # it goes on by itself
        self._blobs = blobs
        self.effect_of = effect_of
        self._own = own
        self._box = box
        self._seq = 0  # of the next record
        self._told: list[InjectText] = []
        self._heard: dict[str, str] = {}  # everything somebody said to the run, by message id
        self._acted = False  # something was kept in this life
        self.on_its_way = False  # a call with an effect has begun and its end is not kept yet
        self._log = 0  # of steps; the first
        self.given: list[dict[str, Any]] = []  # steps it goes on from that no record of it tells of
        self._past = run.fence > 1 or run.requeued_from is not None  # else the ledger knows nothing of us
        self._began = ctx.clock.monotonic()
        self._counters = Counters(iteration=0, current_step=0, tokens_used=0)

    # --- the loop's port ----------------------------------------------------------------------

    def asked(self, ask: ChatRequest) -> None:
        self.recorder.asked(ask)
        self.calls.begin(self.provider, ask.model)

    def heard(self, chunk: StreamChunk) -> None:
        self.recorder.heard(chunk)
        self.calls.heard(chunk)

    def answered(self, step: int, response: ChatResponse) -> None:
        self.recorder.answered(step, response)
        self.calls.end(response)

    async def thought(self, draft: Draft, step: int, said: ChatMessage, usage: Usage) -> None:
        self._count(draft)
        await self._keep([Step(step_no=step, kind="llm", message=_raw(said), usage=usage)])

    async def acted(self, draft: Draft, step: int, results: Sequence[tuple[int, ToolCall, ToolResult]]) -> None:
        self._count(draft)
        steps, outcomes = [], []
        for index, wanted, result in results:
            effect = self.effect_of(wanted)
            self.recorder.acted(step, index, wanted, effect, result)
            message = _raw(result_of(wanted, result), **({"media": result.media} if result.media else {}))
            steps.append(Step(step_no=step + 1 + index, kind="tool", message=message))
            if effect != "pure":
                outcomes.append(Outcome(key=self.key(Place(step, index)), status=_status(result), result=_raw(result)))
        await self._keep(steps, outcomes=outcomes)
        self.on_its_way = False

    def has_news(self) -> bool:
        return bool(self._told)

    async def told(self, draft: Draft) -> list[ChatMessage]:
        texts, self._told = self._told, []
        steps, messages = [], []
        for number, text in enumerate(texts, draft.step):
            message = ChatMessage(role="user", content=text.text)
            self.recorder.told(number, text.text)
            steps.append(Step(step_no=number, kind="note", message=_raw(message, id=text.message_id)))
            messages.append(message)
        self._count(draft)
        await self._keep(steps)
        return messages

    def go_on(self, text: str) -> None:
        self.tell(InjectText(message_id=f"{OWN}{len(self._heard)}", text=text, sender=""))

    def left(self) -> float:
        return self._run.left - (self._ctx.clock.monotonic() - self._began)

    def told_itself(self, text: str) -> bool:
        """Whether a message is one the run wrote to itself, which no history shows."""
        return any(id.startswith(OWN) and text == said for id, said in self._heard.items())

    # --- the tools' port ----------------------------------------------------------------------

    def key(self, place: Place) -> str:
        return _key(self._run.run_id, place, self._log)

    async def past(self, place: Place, request_hash: str) -> Past | None:
        if not self._past:
            return None
        run = self._run
        known = await self._ctx.db(
            run_steps.effect,
            tenant=run.tenant_id,
            run_id=run.run_id,
            log=self._log,
            key=self.key(place),
            request_hash=request_hash,
        )
        if known is None:
            return None
        return Past(
            key=known.key,
            request_hash=known.request_hash,
            before=known.note,
            at=known.started_at,
            result=msgspec.json.decode(known.stored, type=ToolResult) if known.stored is not None else None,
            former=known.former,
        )

    async def begin(self, call: Begun) -> None:
        effect = NewEffect(
            key=self.key(call.place),
            step_no=call.place.step,
            call_index=call.place.index,
            tool=call.tool,
            effect_class=call.effect,
            request_hash=call.request_hash,
            note=call.before,
            log=self._log,
            adopts=call.adopts or None,
        )
        await self._keep([], effects=[effect])
        self.on_its_way = not call.settled
        crash_point("effect.started")

    # --- for the run --------------------------------------------------------------------------

    def unheard(self) -> list[ChatMessage]:
        """What somebody said and nobody will read any more."""
        texts, self._told = self._told, []
        return [ChatMessage(role="user", content=text.text) for text in texts]

    def tell(self, text: InjectText) -> bool:
        """Somebody said something to the run. It is in the store before he is told so.

        If that fails he says it again, under the same id: it is heard once. False for another text of that id.
        """
        if text.message_id in self._heard:
            return self._heard[text.message_id] == text.text
        self._heard[text.message_id] = text.text
        self._told.append(text)
        return True

    async def resume(self) -> Draft:
        """What former lives have done. Their last record says where the log goes on."""
        if not self._past:
            return Draft()
        run = self._run
        self._log = await self._ctx.db(run_steps.log_of, tenant=run.tenant_id, run_id=run.run_id)
        self._seq, self.recorder.log = await self._ctx.db(run_steps.recorded, tenant=run.tenant_id, run_id=run.run_id)
        steps = await self._ctx.db(run_steps.of_run, tenant=run.tenant_id, run_id=run.run_id)
        for note in (msgspec.json.decode(step.message) for step in steps if step.kind == "note"):
            self._heard[note.get("id", "")] = note["content"]
        for text in await self._ctx.db(session_queue.merged_texts, tenant=run.tenant_id, run_id=run.run_id):
            self.tell(InjectText(message_id=text.message_id, text=text.text, sender=text.sender))
        if self._seq == 0:
            self.given = [msgspec.json.decode(msgspec.json.encode(step)) for step in steps]
        self.calls.before(await self._ctx.db(model_calls.cost_of, tenant=run.tenant_id, run_id=run.run_id))
        draft = resumed(
            (step.step_no, msgspec.json.decode(step.message, type=ChatMessage), step.usage) for step in steps
        )
        draft.media = [file for step in steps for file in msgspec.json.decode(step.message, type=_Files).media]
        self._count(draft)
        return draft

    def failed(self, error: ProviderError) -> None:
        """The model did not answer."""
        self.recorder.failed(error)
        self.calls.failed(error.kind)

    def kept(self, *steps: Step) -> Kept:
        """What has come together and is not in the store yet, with these steps, for the commit that comes."""
        rows, blobs = self.recorder.take()
        first, self._seq = self._seq, self._seq + len(rows)
        return Kept(
            steps=steps,
            records=tuple(self._record(first + place, row) for place, row in enumerate(rows)),
            blobs=tuple(Blob(hash=digest, body=body) for digest, body in blobs.items() if digest not in self._blobs),
            calls=self.calls.waiting(),
            payers=self.calls.payers,
            ledger=self._acted or self._past,
        )

    def stored(self, kept: Kept) -> None:
        """That commit is done."""
        self.calls.stored(kept.calls)
        if kept.calls and kept.payers:
            overshot = tuple(id for call in kept.calls if call.overshot for id in call.reservations)
            self._ctx.tell(BUDGETS, Settled(tenant_id=self._run.tenant_id, payers=kept.payers, overshot=overshot))
        for blob in kept.blobs:
            self._blobs.add(blob.hash)

    def _record(self, seq: int, row: Row) -> Record:
        """At level `full` sealed for its place; what stays readable is the hash of the log (durability.md §16.1)."""
        body, sealed = row.body, None
        if self.recorder.level == "full":
            sealed = b64encode(self._box.seal_object(body, place_of(self._run.run_id, seq))).decode()
            body = {"log": body["log"]}
        return Record(seq=seq, kind=row.kind, step_no=row.step, body=_raw(body), sealed=sealed, blob=row.blob)

    def _count(self, draft: Draft) -> None:
        usage = draft.usage.prompt_tokens + draft.usage.completion_tokens
        limits: dict[str, int] = {}
        if (loop := self.loop) is not None:
            limits = {"max_steps": loop.max_steps, "max_tokens": loop.max_tokens}
            limits["max_duration_ms"] = int(loop.max_duration * 1000)
        step = draft.step if loop is None else done(draft)
        self._counters = Counters(iteration=draft.iterations, current_step=step, tokens_used=usage, **limits)

    async def _keep(self, steps: Sequence[Step], **more: Any) -> None:
        while not self._own.held:  # noqa: ASYNC110 - nothing is kept, so nothing begins (durability.md §12.5)
            await trio.sleep(HELD_LOOK)
        kept = self.kept(*steps)
        self._acted = True
        for attempt in range(1, TRIES + 1):
            try:
                await self._ctx.db(run_steps.keep, self._run, self._counters, kept=kept, **more)
            except StoreError:
                if attempt == TRIES:
                    raise
                await trio.sleep(0.1 * 2**attempt)
            else:
                return self.stored(kept)


def place_of(run_id: str, seq: int) -> SealedPlace:
    """Where a record is sealed for."""
    return SealedPlace("run_records.body_enc", f"{run_id}:{seq}")


def _key(run_id: str, place: Place, log: int) -> str:
    return f"{run_id}:{place.step}:{place.index}" + (f":{log}" if log else "")


def _status(result: ToolResult) -> run_steps.EffectStatus:
    if result.error_code == "unknown":
        return "UNKNOWN"
    return "FAILED" if result.is_error else "SUCCEEDED"


def _raw(value: Any, **more: Any) -> msgspec.Raw:
    if more:
        value = {**msgspec.to_builtins(value), **more}
    return msgspec.Raw(msgspec.json.encode(value))
