"""A watchman for a node: handlers that take too long, dead letters that pile up.

Contract: supervision.md §5 H5, §16. Put one below a supervisor of the tree.
"""

from __future__ import annotations

from collections import Counter, deque
from itertools import islice

from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.address import Address
from goclaw.runtime.cell import Cell
from goclaw.runtime.message import Message
from goclaw.runtime.news import EVENTS, ActorSlow, DeadLettersRising

LOOK = 1.0  # seconds between two looks
SLOW = 5.0  # seconds a responsive actor's handler may take
RATE = 10  # dead letters a second
LONG_ENOUGH = 10  # looks in a row above it


class Look(Message[None]):
    """Time to look around."""


class Watchman(Actor):
    """Looks once a second; says what it sees at most once per actor and second."""

    async def on_start(self, ctx: Context) -> None:
        self._letters: deque[int] = deque([ctx.system.dead_letters.total], maxlen=LONG_ENOUGH + 1)
        ctx.every(LOOK, Look())

    @handles
    def look(self, ctx: Context, _tick: Look) -> None:
        self._at_handlers(ctx)
        self._at_letters(ctx)

    def snapshot(self) -> dict[str, object]:
        return {"dead_letters": self._letters[-1]}

    def _at_handlers(self, ctx: Context) -> None:
        now = ctx.system.load.now()
        for member in list(ctx.system.members.values()):
            if not isinstance(member, Cell) or member.in_hand is None or now - member.hand_since < SLOW:
                continue
            if member.actor is not None and member.actor.responsive:
                slow = ActorSlow(
                    event="actor.slow",
                    at=ctx.clock.now(),
                    path=Address.parse(member.address),
                    of_class=member.class_name,
                    message_type=type(member.in_hand.message).TYPE,
                    age_ms=int((now - member.hand_since) * 1000),
                )
                ctx.publish(EVENTS, slow)

    def _at_letters(self, ctx: Context) -> None:
        letters = ctx.system.dead_letters
        self._letters.append(letters.total)
        counts = list(self._letters)
        each = [later - earlier for earlier, later in zip(counts, islice(counts, 1, None), strict=False)]
        if len(each) < LONG_ENOUGH or min(each) <= RATE:
            return
        recent = Counter((letter.reason, letter.type) for letter in islice(reversed(letters.records), each[-1]))
        (reason, kind), _ = recent.most_common(1)[0]
        rising = DeadLettersRising(
            event="actor.deadletters", at=ctx.clock.now(), reason=reason, rate=sum(each) / len(each), top_type=kind
        )
        ctx.publish(EVENTS, rising)
