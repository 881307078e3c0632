"""Who runs next when a lane has a slot, and who is remembered while there is none.

Contract: sessions-lanes-cron.md §4 (L4.1–L4.3); durability.md §11. Seconds are those of one clock, whichever.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from msgspec import Struct

AGING = 30.0  # seconds of waiting that are worth one step of priority; L4.2
HIGHEST = 10  # L4.2
REMEMBERED = 1_000  # turns
SHARE = 0.8  # of a lane's slots for one user while others wait; L4.3

K = TypeVar("K")
User = tuple[str, str]  # tenant and user
Session = tuple[str, str]  # tenant and session key


class Candidate(Struct, frozen=True, kw_only=True):
    """A session whose oldest waiting run could be claimed. Only its first run counts: sessions keep their order."""

    tenant_id: str
    session_key: str
    user_id: str = ""
    priority: int = 5  # base of that run
    since: float = 0.0  # when it became due

    @property
    def session(self) -> Session:
        return self.tenant_id, self.session_key

    @property
    def user(self) -> User:
        return self.tenant_id, self.user_id


def effective(candidate: Candidate, now: float) -> int:
    """Its priority, 0 to 10: waiting adds to the base."""
    waited = max(0.0, now - candidate.since)
    return min(HIGHEST, candidate.priority + int(waited // AGING))


class Turns:
    """Whose turn was when: a number that grows, for each tenant and user; 0 = long ago or never."""

    def __init__(self, last: Mapping[str | User, int] | None = None, number: int = 0) -> None:
        self._last = dict(last or {})
        self._number = number

    def of(self, whose: str | User) -> int:
        return self._last.get(whose, 0)

    def took(self, tenant_id: str, user_id: str) -> None:
        self._number += 1
        self._last[tenant_id] = self._last[tenant_id, user_id] = self._number
        if len(self._last) > 2 * REMEMBERED:
            self._last = {whose: at for whose, at in self._last.items() if at > self._number - REMEMBERED // 2}

    def copy(self) -> Turns:
        return Turns(self._last, self._number)


def pick(
    waiting: Iterable[Candidate],
    active: Mapping[User, int],
    turns: Turns,
    *,
    slots: int,
    free: int,
    now: float,
) -> list[Candidate]:
    """The next runs for `free` of a lane's `slots`, best first.

    Highest effective priority, then the tenant whose turn is longest ago, then the user with the fewest `active` runs,
    of these the one whose turn is longest ago, then the oldest. Whoever holds his share comes after everybody else.
    """
    most = math.ceil(slots * SHARE)
    busy = Counter(active)
    turns = turns.copy()
    groups: dict[tuple[str, str, int], list[Candidate]] = {}
    for candidate in waiting:
        groups.setdefault((candidate.tenant_id, candidate.user_id, candidate.priority), []).append(candidate)
    for group in groups.values():
        group.sort(key=lambda candidate: (candidate.since, candidate.session_key), reverse=True)  # the best at the end

    def rank(key: tuple[str, str, int]) -> tuple[bool, int, int, int, int, float, str]:
        best = groups[key][-1]
        runs, of_tenant, of_user = busy[best.user], turns.of(best.tenant_id), turns.of(best.user)
        return runs >= most, -effective(best, now), of_tenant, runs, of_user, best.since, best.session_key

    picked: list[Candidate] = []
    while groups and len(picked) < free:
        key = min(groups, key=rank)
        chosen = groups[key].pop()
        if not groups[key]:
            del groups[key]
        turns.took(*chosen.user)
        busy[chosen.user] += 1
        picked.append(chosen)
    return picked


class Waitlist:
    """Sessions known to wait, at most `most`; the database knows them all.

    When it is full, the tenant with the most entries gives way, in it the user with the most, of his the youngest:
    so a crowd never hides anybody.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._known: dict[Session, Candidate] = {}
        self._tenants: Counter[str] = Counter()
        self._users: Counter[User] = Counter()

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self._known.values())

    def __contains__(self, session: Session) -> bool:
        return session in self._known

    @property
    def tenants(self) -> Iterable[str]:
        return self._tenants

    def add(self, candidate: Candidate) -> None:
        """Remember it, in place of what was known of its session."""
        self.drop(candidate.session)
        self._known[candidate.session] = candidate
        self._tenants[candidate.tenant_id] += 1
        self._users[candidate.user] += 1
        if len(self._known) > self.most:
            self._give_way()

    def drop(self, session: Session) -> None:
        gone = self._known.pop(session, None)
        if gone is not None:
            _less(self._tenants, gone.tenant_id)
            _less(self._users, gone.user)

    def _give_way(self) -> None:
        tenant = max(self._tenants, key=self._tenants.__getitem__)
        user = max((user for user in self._users if user[0] == tenant), key=self._users.__getitem__)
        theirs = (candidate for candidate in self._known.values() if candidate.user == user)
        self.drop(max(theirs, key=lambda candidate: candidate.since).session)


def _less(counts: Counter[K], key: K) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
