"""The order of a conversation as a property, in virtual time. Contract: sessions-lanes-cron.md §3.2, §3.3, §3.5.

The database is a ledger in memory that keeps the promises of the store functions the session uses; the lane is a
stand-in that claims the oldest. Both are as slow as the example says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import msgspec
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from goclaw.actors.engine.lane_news import Start
from goclaw.actors.sessions.tree import sessions
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.address import session
from goclaw.domain.ids import new_id
from goclaw.domain.run import RunQueued, RunRequest, TakeSlot
from goclaw.domain.session import Accepted, RunEnded, Send
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.child import Child, Restart, child
from goclaw.runtime.message import ChildEnded, Message
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import open_system
from goclaw.runtime.testing import quiesce
from goclaw.settings.queue import Queue
from goclaw.stores.run_acceptance import Stored
from goclaw.stores.run_queue import Crowd
from tests.actors.house import KEY

HERE = session(MASTER_TENANT, KEY)


class Turn(msgspec.Struct, frozen=True):
    """`gap`: hundredths of a second after the one before."""

    sender: Literal["ann", "bob"]
    gap: int
    mode: Literal["queue", "followup"]
    window: int  # hundredths of a second; 0 = none


@dataclass
class Ledger:
    """What a database would hold of one session."""

    delays: list[int]
    waiting: dict[str, str] = field(default_factory=dict)  # run id → text, oldest first
    running: str = ""
    began: list[tuple[str, str]] = field(default_factory=list)

    async def run(self, work: Any, /, *_: Any, **given: Any) -> Any:
        await trio.sleep(self.delays[len(self.began) % len(self.delays)] / 1000)
        return getattr(self, work.name.partition(".")[2])(**given)

    def known(self, **_: Any) -> None:
        return None

    def accept(self, *, run_id: str, request: RunRequest, node: str | None, **_: Any) -> Stored:
        at_once = node is not None and not self.waiting and not self.running
        if at_once:
            self._begin(run_id, request.message)
        else:
            self.waiting[run_id] = request.message
        return Stored(len(self.waiting), int(bool(self.running)), at_once)

    def accept_merged(self, *, asides: Any, **turn: Any) -> Stored:
        return self.accept(**turn)

    def join_waiting(self, *, place: Any, aside: Any, into: str) -> bool:
        if into not in self.waiting:
            return False
        self.waiting[into] += "\n" + aside.request.message
        return True

    def crowd(self, **_: Any) -> Crowd:
        return Crowd(len(self.waiting), len(self.waiting))

    def claim(self) -> str | None:
        if self.running or not self.waiting:
            return None
        run_id = next(iter(self.waiting))
        self._begin(run_id, self.waiting.pop(run_id))
        return run_id

    def _begin(self, run_id: str, text: str) -> None:
        assert not self.running, "two at once"
        self.running = run_id
        self.began.append((run_id, text))


class Work(Message[None]):
    """Begin."""


class Run(Actor):
    """Works for a while, then its end is in the ledger before anybody hears of it."""

    def __init__(self, run_id: str, ledger: Ledger, seconds: float) -> None:
        self.run_id, self.ledger, self.seconds = run_id, ledger, seconds

    async def on_start(self, ctx: Context) -> None:
        ctx.tell(ctx.address, Work())

    @handles
    async def work(self, ctx: Context, _go: Work) -> None:
        await trio.sleep(self.seconds)
        self.ledger.running = ""
        ctx.tell(HERE, RunEnded(run_id=self.run_id))
        ctx.stop()


class Lane(Actor):
    def __init__(self, ledger: Ledger, seconds: float) -> None:
        self.ledger, self.seconds = ledger, seconds

    @handles
    async def take_slot(self, ctx: Context, ask: TakeSlot) -> bool:
        return True

    @handles
    async def start(self, ctx: Context, news: Start) -> None:
        self._begin(ctx, news.run.run_id)

    @handles
    async def queued(self, ctx: Context, news: RunQueued) -> None:
        self._claim(ctx)

    @handles
    async def ended(self, ctx: Context, news: ChildEnded) -> None:
        self._claim(ctx)

    def _claim(self, ctx: Context) -> None:
        if (run_id := self.ledger.claim()) is not None:
            self._begin(ctx, run_id)

    def _begin(self, ctx: Context, run_id: str) -> None:
        ctx.child(Child(run_id, Run, (run_id, self.ledger, self.seconds), restart=Restart.TEMPORARY))


async def play(turns: list[Turn], ledger: Ledger, seconds: float) -> list[Accepted]:
    queue = Queue(cap=1000, max_depth_per_user=1000)
    lanes = partial(Supervisor, [child("main", Lane, ledger, seconds)])
    tree = partial(
        Supervisor,
        children=[
            child("engine", partial(Supervisor, [child("lanes", lanes)])),
            child("sessions", sessions, new_id(), queue, 600.0),
        ],
    )
    answers: list[Accepted] = []
    async with open_system(ledger) as system:
        await system.start(child("", tree))

        async def say(number: int, turn: Turn) -> None:
            send = Send(
                run_id=new_id(),
                user_id=turn.sender,
                as_admin=True,
                agent_id=new_id(),
                agent_key="default",
                kind="chat",
                request=RunRequest(message=f"{turn.sender} {number}"),
                mode=turn.mode,
                debounce_ms=10 * turn.window,
            )
            answers.append(await system.ask(HERE, send, within=600))

        async with trio.open_nursery() as nursery:
            for number, turn in enumerate(turns):
                await trio.sleep(turn.gap / 100 + 0.0001)  # two at the very same moment have no order
                nursery.start_soon(say, number, turn)
        await quiesce(system)
    assert not ledger.waiting
    return answers


TURNS = st.lists(
    st.builds(
        Turn,
        sender=st.sampled_from(["ann", "bob"]),
        gap=st.integers(0, 30),
        mode=st.sampled_from(["queue", "followup"]),
        window=st.sampled_from([0, 0, 5, 20]),
    ),
    min_size=1,
    max_size=12,
)


@settings(deadline=None, max_examples=60)
@given(TURNS, st.lists(st.integers(0, 20), min_size=1, max_size=4), st.sampled_from([0.0, 0.05, 0.4]))
def test_what_each_sender_says_is_answered_once_in_order_one_run_at_a_time(
    turns: list[Turn], delays: list[int], seconds: float
) -> None:
    ledger = Ledger(delays)
    answers = trio.run(play, turns, ledger, seconds, clock=MockClock(autojump_threshold=0))

    answered = [text for _, texts in ledger.began for text in texts.split("\n")]
    for sender in ("ann", "bob"):
        said = [f"{sender} {number}" for number, turn in enumerate(turns) if turn.sender == sender]
        assert [text for text in answered if text.startswith(sender)] == said
    assert {answer.run_id for answer in answers} == {run_id for run_id, _ in ledger.began}
    assert len(answers) == len(turns)
