"""What a session should know of a run that is over. Contract: agent-loop.md §3 phase 8, §13.2."""

from __future__ import annotations

import msgspec

from goclaw.agent.compaction import due, nearly
from goclaw.agent.label import is_its_own
from goclaw.agent.turn import Draft
from goclaw.domain.agent import AgentProfile
from goclaw.domain.run import INTERACTIVE
from goclaw.domain.session import RunEnded
from goclaw.settings.compaction import Compaction, of_agent
from goclaw.stores.runs import Claimed


def ended(run: Claimed, profile: AgentProfile | None, found: int, draft: Draft, settings: Compaction) -> RunEnded:
    """`found` is how many messages it was told of the history. What is only likely here, the session looks up."""
    if profile is None or run.request.replay is not None:
        return RunEnded(run_id=run.run_id)
    own = of_agent(settings, msgspec.json.decode(profile.compaction))
    messages, window = found + 1 + len(draft.messages), profile.context_window
    return RunEnded(
        run_id=run.run_id,
        first=run.kind in INTERACTIVE and not found and not is_its_own(run.request.message),
        long=due(own, messages, draft.full, window) or nearly(own, draft.full, window),
        tokens=draft.full,
    )
