"""The slots of a lane: taken, kept for a run about to be accepted, lent while a run waits for another.

Contract: sessions-lanes-cron.md §4 (L4.4); orchestration.md §11 (H4).
"""

from __future__ import annotations

from goclaw.runtime.reply import Reply


class Slots:
    """Never more than `limit` are taken or kept, unless the limit was lowered or one was taken back: then runs end as
    they would."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._taken: set[str] = set()
        self._kept: dict[str, float] = {}  # and since when
        self._lent: set[str] = set()  # runs that work on without a slot
        self._back: dict[str, Reply] = {}  # of these, who wants theirs back, longest first

    @property
    def free(self) -> int:
        """What waits for a slot in the queue comes after those who lent theirs."""
        return self.limit - len(self._taken) - len(self._kept) - len(self._back)

    @property
    def taken(self) -> int:
        return len(self._taken)

    @property
    def lent(self) -> int:
        return len(self._lent)

    @property
    def keeping(self) -> bool:
        """Whether somebody may yet start in a slot that is kept."""
        return bool(self._kept)

    def keep(self, run_id: str, now: float) -> None:
        self._kept[run_id] = now

    def unkeep(self, run_id: str) -> bool:
        """False if no slot is kept for it (any more)."""
        return self._kept.pop(run_id, None) is not None

    def kept(self, run_id: str) -> bool:
        return run_id in self._kept

    def forget(self, before: float) -> None:
        """Whoever was kept a slot before that time and neither took it nor gave it back."""
        self._kept = {run_id: since for run_id, since in self._kept.items() if since >= before}

    def take(self, run_id: str) -> None:
        self._taken.add(run_id)

    def leave(self, run_id: str) -> None:
        """The run ended."""
        self._taken.discard(run_id)
        self._lent.discard(run_id)
        self._back.pop(run_id, None)

    def lend(self, run_id: str) -> None:
        """It waits for a child. A run without a slot has none to lend."""
        if run_id in self._taken:
            self._taken.remove(run_id)
            self._lent.add(run_id)

    def reclaim(self, run_id: str, reply: Reply) -> None:
        """Answered with True as soon as it has a slot again; that may be now. It may ask again."""
        if run_id in self._lent:
            self._back[run_id] = reply
            self.serve()
        else:
            reply.answer(True)

    def take_back(self, run_id: str) -> None:
        """It goes on at once. Nothing if it has lent nothing."""
        if run_id in self._lent:
            self._lent.discard(run_id)
            self._back.pop(run_id, None)
            self._taken.add(run_id)

    def serve(self) -> None:
        """Give slots back to those who lent theirs."""
        while self._back and self.limit > len(self._taken) + len(self._kept):
            run_id, reply = next(iter(self._back.items()))
            del self._back[run_id]
            if reply.answer(True):
                self._lent.discard(run_id)
                self._taken.add(run_id)
            # else its patience ended: it asks again, or ends
