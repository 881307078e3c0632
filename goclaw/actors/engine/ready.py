"""Who waits in a lane, as far as it knows: ordinary runs, and suspects apart from them.

Contract: sessions-lanes-cron.md §4; durability.md §6.4, §11.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from goclaw.actors.engine.pressure import HELD
from goclaw.actors.engine.waits import candidate_of
from goclaw.domain.pick import Candidate, Turns, User, Waitlist, effective, pick
from goclaw.domain.run import Lane, RunQueued

READY = 1_000  # sessions of each sort that are remembered; the keeper's look finds the others again


class Ready:
    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.waiting = Waitlist(READY)
        self.suspects = Waitlist(READY)
        self.turns = Turns()
        self.pressures: dict[str, int] = {}  # of all lanes of the node

    def learn(self, news: RunQueued, now: float) -> bool:
        """Whether it is news. Who does not know since when a session waits knows less than we do."""
        candidate = candidate_of(news, now)
        known = candidate.session in self.waiting or candidate.session in self.suspects
        if not known or news.waited is not None:
            there, elsewhere = (self.suspects, self.waiting) if news.suspect else (self.waiting, self.suspects)
            elsewhere.drop(candidate.session)
            there.add(candidate)
        return not known

    def wanted(self) -> Iterable[Candidate]:
        """Who may be claimed. While a lane is saturated, the clock's work is left where it is, the least first."""
        held = HELD[max(self.pressures.values(), default=0)]
        if self.lane != "cron" or held < 0:
            return self.waiting
        return [waiting for waiting in self.waiting if waiting.priority > held]

    def next(self, active: Mapping[User, int], *, slots: int, free: int, now: float) -> list[Candidate]:
        """The best for so many free slots. They are no longer known to wait."""
        chosen = pick(self.wanted(), active, self.turns, slots=slots, free=free, now=now)
        for candidate in chosen:
            self.waiting.drop(candidate.session)
        return chosen

    def next_suspect(self, now: float) -> Candidate:
        (chosen,) = pick(self.suspects, {}, self.turns, slots=1, free=1, now=now)
        self.suspects.drop(chosen.session)
        return chosen

    def ahead(self, priority: int, now: float) -> int:
        """How many would be picked before a newcomer of this base priority."""
        return sum(effective(waiting, now) >= priority for waiting in self.waiting)
