"""Who waits, in the words of the store, of the messages and of the pick."""

from __future__ import annotations

from goclaw.domain.pick import Candidate
from goclaw.domain.run import RunQueued, suspected
from goclaw.stores.run_queue import Waiting
from goclaw.stores.runs import Claimed


def candidate_of(news: RunQueued, now: float) -> Candidate:
    return Candidate(
        tenant_id=news.tenant_id,
        session_key=news.session_key,
        user_id=news.user_id,
        priority=news.priority,
        since=now - (news.waited or 0.0),
    )


def requeued(run: Claimed, *, suspect: bool = False, due_in: float = 0.0) -> RunQueued:
    """What waits in the session of a run that left, itself perhaps: for another try in so many seconds."""
    return RunQueued(
        tenant_id=run.tenant_id,
        session_key=run.session_key,
        user_id=run.user_id,
        priority=run.priority,
        waited=-due_in,
        suspect=suspect,
    )


def news_of(waiting: Waiting) -> RunQueued:
    return RunQueued(
        tenant_id=waiting.tenant_id,
        session_key=waiting.session_key,
        user_id=waiting.user_id,
        priority=waiting.priority,
        waited=waiting.waited,
        suspect=suspected(waiting.crash_count),
    )
