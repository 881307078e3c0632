"""One compaction: has notes taken and a summary written, and puts it in the place of the messages it covers.

Address   /sessions/{tenant}/{session key}/compaction-{id}
Contract  agent-loop.md §13.2, §13.3

Nothing changes before the last commit, which happens only if the history is still the one that was summarised; the
conversation goes on meanwhile. Whoever dies on the way leaves it to the next run's end, or the next start.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

import msgspec
import trio
from msgspec import Struct
from msgspec.structs import replace

from goclaw.actors.engine.aside import aside
from goclaw.actors.engine.engine import Engine
from goclaw.actors.sessions import notes
from goclaw.agent.compaction import AT_LEAST, LEAST, WITHIN, asking, due, head_of, nearly, older, removed, summarise
from goclaw.agent.condense import condensed, folded
from goclaw.agent.flush import extract, flush
from goclaw.domain.address import agent
from goclaw.domain.agent import AgentProfile, GetProfile
from goclaw.domain.budget import Payer
from goclaw.domain.chat import Raw
from goclaw.domain.errors import Err, ProviderError, Rejected, StoreError, provider_failed, unavailable
from goclaw.domain.hint_texts import hint, locale_of
from goclaw.domain.session_change import Compacted
from goclaw.domain.tokens import MESSAGE, estimate
from goclaw.providers.provider import Model
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.crashpoint import crash_point
from goclaw.runtime.faults import RuntimeFault
from goclaw.runtime.message import Message
from goclaw.security.paths import PathRefused
from goclaw.settings.compaction import Compaction as Settings
from goclaw.settings.compaction import Mode, of_agent
from goclaw.stores import session_changes, session_upkeep, subagent_views
from goclaw.stores.session_changes import Live


class Job(Struct, frozen=True, kw_only=True):
    """`keep` says how many messages stay, for whoever asks for it; None: as the agent has it, if it is due at all."""

    tenant: str
    key: str
    agent_key: str
    user_id: str
    payers: tuple[Payer, ...]
    keep: int | None = None
    tokens: int = 0  # that the last run's model was told and said; 0: nobody knows


class Made(NamedTuple):
    """What stands for the messages that go: a summary, and for models of one family their provider's own form."""

    summary: str
    raw: Raw | None = None
    mode: Mode = "summary"


class Work(Message[None]):
    """Begin."""


class Summarised(Message[None]):
    """To the session: it is done, or the history stays as it was."""

    outcome: Compacted | None = None
    refusal: Err | None = None


class Compaction(Actor):
    def __init__(self, job: Job, engine: Engine) -> None:
        self.job = job
        self.engine = engine

    async def on_start(self, ctx: Context) -> None:
        ctx.tell(ctx.address, Work())

    @handles
    async def work(self, ctx: Context, _go: Work) -> None:
        assert ctx.parent is not None
        try:
            news = Summarised(outcome=await self._compact(ctx))
        except ProviderError as error:
            news = Summarised(refusal=provider_failed(error))
        except Rejected as refusal:
            news = Summarised(refusal=refusal.err)
        except (StoreError, RuntimeFault) as trouble:
            ctx.log.warning("session.compaction_failed", error=str(trouble))
            news = Summarised(refusal=unavailable("store"))
        ctx.tell(ctx.parent, news)
        ctx.stop()

    async def _compact(self, ctx: Context) -> Compacted:
        job, defaults = self.job, self.engine.defaults.compaction
        profile = await ctx.ask(agent(job.tenant, job.agent_key), GetProfile(user_id=job.user_id), within=10)
        self.settings = of_agent(defaults, msgspec.json.decode(profile.compaction))
        rows = await self._live(ctx)
        if job.keep is None and nearly_or_due(self.settings, job.tokens, rows, profile.context_window):
            await self._take_notes(ctx, profile, rows)
            rows = await self._live(ctx)  # it may be another history by now
        covered = self._covered(rows, profile.context_window)
        if len(covered) < AT_LEAST:
            return Compacted(before=len(rows), after=len(rows), skipped=True)
        made = await self._made(ctx, profile, rows, covered)
        crash_point("session.compacting")
        done = await ctx.db(
            session_changes.archive,
            tenant=job.tenant,
            key=job.key,
            covered=covered,
            summary=made.summary,
            compacted=made.raw,
            mode=made.mode,
        )
        after = len(rows) - len(covered) if done else len(rows)
        if done:
            said = f"[runtime-compaction] removed {len(covered)} old messages, kept {after}"
            ctx.log.info("session.compacted", note=said, session=job.key, removed=len(covered), kept=after)
        return Compacted(before=len(rows), after=after, skipped=not done)

    async def _live(self, ctx: Context) -> list[Live]:
        return await ctx.db(session_changes.live, tenant=self.job.tenant, key=self.job.key)

    def _covered(self, rows: Sequence[Live], window: int) -> Sequence[Live]:
        keep = self.job.keep
        if keep is not None:
            return head_of(rows, keep) if len(rows) >= LEAST else ()
        wanted = due(self.settings, len(rows), max(self.job.tokens, tokens_of(rows)), window)
        return older(self.settings, rows) if wanted else ()

    async def _made(self, ctx: Context, profile: AgentProfile, rows: Sequence[Live], covered: Sequence[Live]) -> Made:
        """In the agent's mode; where its provider cannot, a model writes a summary (§13.4)."""
        job, mode = self.job, self.settings.mode
        if mode != "summary":
            try:
                return await self._by_provider(ctx, profile, covered, mode)
            except (ProviderError, Rejected) as trouble:
                ctx.log.warning("session.provider_not_compacting", session=job.key, mode=mode, error=str(trouble))
        return Made(await self._summary(ctx, profile, rows, covered))

    async def _by_provider(self, ctx: Context, profile: AgentProfile, covered: Sequence[Live], mode: Mode) -> Made:
        """Only the agent's own model can read on from it, so no other is asked."""
        job, alone = self.job, replace(profile, fallbacks=())
        before = msgspec.json.decode(covered[0].compacted, type=Raw) if covered[0].compacted else None
        async with self._models(ctx, alone, WITHIN) as model:
            raw, text = await condensed(covered, before, model, profile.model, session=job.key)
            most = self.settings.max_summary_chars
            if mode == "hybrid":
                return Made(await folded(raw, model, profile.model, session=job.key, most=most), mode=mode)
        return Made(text[:most] or hint("sealed", locale_of(profile.language, "en"), count=len(covered)), raw, mode)

    async def _summary(self, ctx: Context, profile: AgentProfile, rows: Sequence[Live], covered: Sequence[Live]) -> str:
        """Where nobody can write one, the messages go without it only if they would not fit any more (step 4)."""
        job = self.job
        writer = profile.answering_with("", self.settings.summarizer_model)
        children = await ctx.db(subagent_views.roster, tenant=job.tenant, key=job.key)
        try:
            async with self._models(ctx, writer, WITHIN) as model:
                ask = asking(model)
                return await summarise(
                    covered,
                    ask,
                    writer.model,
                    session=job.key,
                    settings=self.settings,
                    children=children,
                    locale=locale_of(profile.language, "en"),
                )
        except (ProviderError, Rejected) as trouble:
            if job.keep is not None or max(job.tokens, tokens_of(rows)) < profile.context_window:
                raise
            ctx.log.warning("session.not_summarised", session=job.key, error=str(trouble))
            return removed(covered, locale_of(profile.language, "en"))[-self.settings.max_summary_chars :]

    # --- notes --------------------------------------------------------------------------------

    async def _take_notes(self, ctx: Context, profile: AgentProfile, rows: Sequence[Live]) -> None:
        """Once a cycle. Whatever goes wrong here, the history may get shorter."""
        job = self.job
        cycle = await ctx.db(session_upkeep.cycle, tenant=job.tenant, key=job.key)
        if not self.settings.memory_flush.enabled or cycle is None or cycle.noted or not rows:
            return
        file = notes.file_of(ctx.clock.now(), self.engine.defaults.timezone)
        mark = notes.mark(job.tenant, job.key, cycle.generation, cycle.compactions)
        try:
            workspace = self.engine.workspace(profile, job.user_id)
            there = await trio.to_thread.run_sync(notes.held, workspace, file)
            if mark not in there and (text := await self._notes(ctx, profile, rows, file, there)):
                crash_point("session.noting")
                await trio.to_thread.run_sync(notes.add, workspace, file, mark, text)
        except (OSError, PathRefused) as trouble:
            ctx.log.warning("session.notes_not_kept", session=job.key, error=str(trouble))
        crash_point("session.noted")
        await ctx.db(session_upkeep.noted, tenant=job.tenant, key=job.key, of=cycle)

    async def _notes(self, ctx: Context, profile: AgentProfile, rows: Sequence[Live], file: str, there: str) -> str:
        job = self.job
        try:
            async with self._models(ctx, profile, WITHIN) as model:
                settings = self.settings.memory_flush
                return await flush(
                    model, profile.model, rows, file=file, there=there, settings=settings, session=job.key
                )
        except (ProviderError, Rejected) as trouble:
            ctx.log.warning("session.notes_extracted", session=job.key, error=str(trouble))
            return extract(rows)

    def _models(self, ctx: Context, profile: AgentProfile, within: float) -> AbstractAsyncContextManager[Model]:
        job, spending = self.job, self.engine.spending
        return aside(ctx, spending, profile, tenant=job.tenant, payers=job.payers, within=within)


def nearly_or_due(settings: Settings, told: int, rows: Sequence[Live], window: int) -> bool:
    tokens = max(told, tokens_of(rows))
    return due(settings, len(rows), tokens, window) or nearly(settings, tokens, window)


def tokens_of(rows: Sequence[Live]) -> int:
    return sum(MESSAGE + estimate(row.content) for row in rows)
