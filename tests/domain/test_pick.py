"""Who runs next. Contract: sessions-lanes-cron.md §4, SL-13, SL-16; durability.md §11, E19."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from goclaw.domain.pick import HIGHEST, SHARE, Candidate, Session, Turns, Waitlist, effective, pick

HOUR = 3600.0


def waits(user: str, session: str = "", *, tenant: str = "t", priority: int = 5, since: float = 0.0) -> Candidate:
    return Candidate(tenant_id=tenant, session_key=session or user, user_id=user, priority=priority, since=since)


def users(picked: list[Candidate]) -> list[str]:
    return [candidate.user_id for candidate in picked]


class Lane:
    """A lane in virtual time: runs of so many seconds, closed-loop or not."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.now = 0.0
        self.waiting: dict[Session, Candidate] = {}
        self.running: list[tuple[float, Candidate]] = []
        self.turns = Turns()
        self.started: list[tuple[float, Candidate]] = []

    def add(self, *candidates: Candidate) -> None:
        for candidate in candidates:
            assert candidate.session not in self.waiting
            self.waiting[candidate.session] = candidate

    def until(self, end: float, seconds: float, then: Callable[[Candidate], None] = lambda _: None) -> None:
        """Run until `end` or until nothing is left; `then` hears of every run that ended."""
        while self.now <= end:
            self._fill(seconds)
            if not self.running:
                return
            self.running.sort(key=lambda run: run[0])
            self.now, ended = self.running.pop(0)
            then(ended)

    def _fill(self, seconds: float) -> None:
        active = Counter(candidate.user for _, candidate in self.running)
        free = self.slots - len(self.running)
        chosen = pick(self.waiting.values(), active, self.turns, slots=self.slots, free=free, now=self.now)
        for candidate in chosen:
            del self.waiting[candidate.session]
            self.turns.took(*candidate.user)
            self.started.append((self.now, candidate))
            self.running.append((self.now + seconds, candidate))


def test_every_half_minute_of_waiting_is_one_step_up_to_ten() -> None:
    candidate = waits("a", priority=3)

    assert [effective(candidate, now) for now in (0, 29.9, 30, 89.9, 210, 100_000)] == [3, 3, 4, 5, 10, 10]
    assert effective(waits("a", since=50.0), 0.0) == 5, "a clock that seems to run backwards takes nothing away"


def test_the_higher_priority_goes_first_and_equals_by_age() -> None:
    waiting = [waits("young", since=9), waits("low", priority=2, since=0), waits("old", since=1)]

    assert users(pick(waiting, {}, Turns(), slots=10, free=2, now=10)) == ["old", "young"]


def test_of_equals_the_user_with_the_fewest_runs_goes_first() -> None:
    waiting = [waits("busy", since=0), waits("idle", since=5)]

    assert users(pick(waiting, {("t", "busy"): 2}, Turns(), slots=10, free=2, now=10)) == ["idle", "busy"]


def test_one_user_with_a_hundred_waiting_and_another_with_one() -> None:
    """SL-16: the other is served within two slots."""
    crowd = [waits("crowd", f"s{n}", since=n / 100) for n in range(100)]
    lane = Lane(slots=1)
    lane.add(*crowd, waits("other", since=5.0))
    lane.now = 6.0

    lane.until(HOUR, seconds=1.0)

    assert "other" in users([candidate for _, candidate in lane.started[:2]])
    assert len(lane.started) == 101


def test_one_slot_three_sessions_one_at_a_time_and_nobody_is_left_out() -> None:
    """SL-13, with sessions that always have another turn."""
    lane = Lane(slots=1)
    lane.add(*(waits(user) for user in "abc"))

    def again(ended: Candidate) -> None:
        assert not lane.running
        lane.add(waits(ended.user_id, since=lane.now))

    lane.until(300.0, seconds=10.0, then=again)

    served = users([candidate for _, candidate in lane.started])
    assert all(set(served[at : at + 3]) == set("abc") for at in range(0, len(served) - 3, 3))


def test_tenants_of_equal_priority_take_turns_however_many_wait_in_one() -> None:
    lane = Lane(slots=1)
    lane.add(*(waits(f"u{n}", tenant="large") for n in range(50)), *(waits(f"v{n}", tenant="small") for n in range(3)))

    lane.until(HOUR, seconds=1.0)

    tenants = [candidate.tenant_id for _, candidate in lane.started]
    assert tenants[:6].count("small") == 3
    assert tenants[6:] == ["large"] * 47


def test_nobody_holds_more_than_his_share_while_others_wait() -> None:
    crowd = [waits("crowd", f"s{n}", priority=9) for n in range(20)]

    full = pick([*crowd, waits("other", priority=0)], {("t", "crowd"): 8}, Turns(), slots=10, free=2, now=0)
    alone = pick(crowd, {("t", "crowd"): 8}, Turns(), slots=10, free=2, now=0)

    assert users(full) == ["other", "crowd"], "who holds 8 of 10 lets the lowest of the others pass"
    assert users(alone) == ["crowd", "crowd"], "slots are not left empty for nobody"


def test_a_low_priority_session_against_constant_high_load_starts_within_five_minutes() -> None:
    """E19."""
    lane = Lane(slots=2)
    lane.add(waits("low", priority=0), *(waits(f"high{n}", priority=9) for n in range(40)))

    def again(ended: Candidate) -> None:
        if ended.user_id != "low":
            lane.add(waits(ended.user_id, priority=9, since=lane.now))

    lane.until(600.0, seconds=5.0, then=again)

    (started,) = [at for at, candidate in lane.started if candidate.user_id == "low"]
    assert started <= 300.0 + 5.0, "five minutes, and the slot that is next"


CANDIDATES: SearchStrategy[list[Candidate]] = st.lists(
    st.builds(
        Candidate,
        tenant_id=st.sampled_from("xyz"),
        session_key=st.integers(0, 999).map(str),
        user_id=st.sampled_from("abcd"),
        priority=st.integers(0, HIGHEST),
        since=st.floats(0, 1000),
    ),
    max_size=60,
    unique_by=lambda candidate: candidate.session,
)


@settings(deadline=None)
@given(CANDIDATES, st.integers(1, 12), st.integers(0, 12), st.floats(1000, 2000))
def test_slots_are_filled_and_each_choice_is_the_best_left(
    waiting: list[Candidate], slots: int, free: int, now: float
) -> None:
    picked = pick(waiting, {}, Turns(), slots=slots, free=free, now=now)

    assert len(picked) == min(free, len(waiting))
    assert len({candidate.session for candidate in picked}) == len(picked)
    busy: Counter[tuple[str, str]] = Counter()
    left = {candidate.session: candidate for candidate in waiting}
    for chosen in picked:
        del left[chosen.session]
        within = [other for other in left.values() if busy[other.user] < math.ceil(slots * SHARE)]
        if busy[chosen.user] >= math.ceil(slots * SHARE):
            assert not within
        else:
            assert effective(chosen, now) >= max((effective(other, now) for other in within), default=0)
        busy[chosen.user] += 1


@settings(deadline=None)
@given(CANDIDATES, st.integers(1, 4), st.integers(10, 30))
def test_nobody_starves_while_finished_users_come_back(waiting: list[Candidate], slots: int, seconds: int) -> None:
    """Everybody who waited at the beginning has started before anybody could have had all the time since."""
    lane = Lane(slots)
    lane.add(*waiting)
    lane.now = 1000.0

    def again(ended: Candidate) -> None:
        key = f"{ended.session_key}'"
        if (ended.tenant_id, key) not in lane.waiting and lane.now < 1000.0 + HOUR / 3:
            lane.add(
                Candidate(tenant_id=ended.tenant_id, session_key=key, user_id=ended.user_id, priority=9, since=lane.now)
            )

    lane.until(1000.0 + 2 * HOUR, float(seconds), then=again)

    first = {candidate.session: at for at, candidate in reversed(lane.started)}
    rounds = math.ceil(len(waiting) / slots) + 1
    # half of the turns go to the other tenant, half of those that are left to the other users
    assert all(first[candidate.session] <= 1000.0 + 300.0 + 4 * rounds * seconds for candidate in waiting)


@settings(deadline=None)
@given(CANDIDATES)
def test_sessions_of_one_user_and_priority_start_oldest_first(waiting: list[Candidate]) -> None:
    lane = Lane(slots=1)
    lane.add(*waiting)
    lane.now = 1000.0

    lane.until(math.inf, seconds=1.0)

    groups: dict[tuple[str, str, int], deque[float]] = {}
    for _, candidate in lane.started:
        groups.setdefault((*candidate.user, candidate.priority), deque()).append(candidate.since)
    assert all(list(ages) == sorted(ages) for ages in groups.values())


def test_a_full_waitlist_keeps_a_place_for_the_small_ones() -> None:
    known = Waitlist(10)
    for number in range(100):
        known.add(waits("crowd", f"s{number}", since=number))
    known.add(waits("quiet", since=500))
    known.add(waits("far", tenant="other", since=501))

    assert len(known) == 10
    assert ("t", "quiet") in known
    assert ("other", "far") in known
    assert [c.since for c in known if c.user_id == "crowd"] == list(range(8)), "the youngest of the crowd gave way"


def test_a_waitlist_remembers_a_session_once_and_forgets_it() -> None:
    known = Waitlist(10)
    known.add(waits("a", since=1))
    known.add(waits("a", since=2))

    assert [candidate.since for candidate in known] == [2]

    known.drop(("t", "a"))
    known.drop(("t", "a"))

    assert len(known) == 0
    assert list(known.tenants) == []
