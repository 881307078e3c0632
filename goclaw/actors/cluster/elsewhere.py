"""What happens to runs on other nodes, for whoever listens here: how they end. And what others want of ours: an end.

Address   /infra/cluster/elsewhere
Contract  durability.md §10 (W4), §13

Text as it is made does not travel between nodes. A listener here gets the whole text when the run is over.
"""

from __future__ import annotations

from typing import Any

from goclaw.actors.engine.living import runs_of
from goclaw.actors.engine.loss import stop_of
from goclaw.actors.engine.trouble import failure
from goclaw.actors.engine.voice import said_in
from goclaw.domain import address as at
from goclaw.domain.cluster import HEARD, Missed, Woken, runs_in
from goclaw.domain.errors import StoreError
from goclaw.domain.events import EVERYBODY, RunEvent, body, of_admins, of_run, of_user
from goclaw.domain.run import RunResult, stop_reason
from goclaw.domain.usage import on_socket
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.message import Cancel, Message
from goclaw.stores import elsewhere
from goclaw.stores.elsewhere import Ending

LOOK = 1.0  # seconds between two looks when nobody rings, and how long a run of ours may take to say that it ended
WISHES = 10.0  # seconds, likewise, for runs of ours that are to stop; durability.md §5.2
OF_RUN = of_run("")


class Look(Message[None]):
    """Did runs end that somebody here waits for?"""


class Heed(Message[None]):
    """Does somebody want runs of ours to stop?"""


class Elsewhere(Actor):
    def __init__(self, node_id: str) -> None:
        self.node_id = node_id
        self.told = 0
        self.over: set[str] = set()  # of those that somebody waits for, whose end was told

    async def on_start(self, ctx: Context) -> None:
        ctx.join(HEARD)
        ctx.every(LOOK, Look())
        ctx.every(WISHES, Heed())

    @handles
    async def woken(self, ctx: Context, news: Woken) -> None:
        if news.kind == "cancel":
            await self._heed(ctx)
        elif news.kind == "cache":
            everybody = EVERYBODY in ctx.system.groups
            ended = [run for run in runs_in(news.topics) if everybody or of_run(run) in ctx.system.groups]
            await self._tell(ctx, ended, older=0.0)

    @handles
    async def missed(self, ctx: Context, _news: Missed) -> None:
        await self._heed(ctx)

    @handles
    async def look(self, ctx: Context, _tick: Look) -> None:
        """Whoever waits for a run that has no actor here will not be told by one."""
        here = {path.name for path in runs_of(ctx.system)}
        waited_for = {group.removeprefix(OF_RUN) for group in ctx.system.groups if group.startswith(OF_RUN)}
        self.over &= waited_for
        await self._tell(ctx, sorted(waited_for - here - self.over), older=LOOK)

    @handles
    async def heed(self, ctx: Context, _tick: Heed) -> None:
        await self._heed(ctx)

    async def _heed(self, ctx: Context) -> None:
        try:
            for wish in await ctx.db(elsewhere.stop_wishes, node=self.node_id):
                ctx.tell(at.run(wish.lane, wish.run_id), Cancel(reason=stop_reason(wish.reason), by=wish.by))
        except StoreError:
            return  # weather: the next look comes

    async def _tell(self, ctx: Context, runs: list[str], *, older: float) -> None:
        if not runs:
            return
        try:
            ended = await ctx.db(elsewhere.endings, runs=runs, older=older)
        except StoreError:
            return  # weather: the next look comes soon
        for run in ended:
            self.told += 1
            self.over.add(run.run_id)
            self._say(ctx, run)

    def _say(self, ctx: Context, run: Ending) -> None:
        result = run.result or RunResult(run_id=run.run_id, session_key=run.session_key)
        seq = said_in(run.fence)  # above everything any node has said
        if result.content and result.error is None:
            text = _event(ctx, run, "chunk", seq + 1, text=result.content)
            ctx.publish(of_run(run.run_id), text)
        if run.state == "CANCELED":
            last = _event(ctx, run, "run.cancelled", seq + 2, payload=stop_of(run.reason, run.by), result=result)
        elif result.error is not None:
            payload = failure(result.error, result.content)
            last = _event(ctx, run, "run.failed", seq + 2, payload=payload, result=result)
        else:
            usage = on_socket(result.usage, cost=result.cost_usd)
            payload = body(content=result.content, usage=usage, finishReason=result.finish_reason)
            last = _event(ctx, run, "run.completed", seq + 2, payload=payload, result=result)
        for group in (of_run(run.run_id), of_user(run.tenant_id, run.user_id), of_admins(run.tenant_id)):
            ctx.publish(group, last)

    def snapshot(self) -> dict[str, object]:
        return {"told": self.told}


def _event(
    ctx: Context,
    run: Ending,
    type: str,
    seq: int,
    *,
    payload: Any = None,
    text: str = "",
    result: RunResult | None = None,
) -> RunEvent:
    return RunEvent(
        type=type,
        run_id=run.run_id,
        run_seq=seq,
        ts=ctx.clock.epoch_ms(),
        tenant_id=run.tenant_id,
        user_id=run.user_id,
        agent_key=run.agent_key,
        session_key=run.session_key,
        kind=run.kind,
        text=text,
        body=payload if payload is not None else body(),
        result=result,
    )
