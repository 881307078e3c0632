"""The sessions branch: one virtual actor per conversation."""

from __future__ import annotations

from goclaw.actors.engine.engine import Engine
from goclaw.actors.sessions.session import Session
from goclaw.domain.cluster import Ownership
from goclaw.runtime.child import Limit
from goclaw.runtime.virtual import Virtual
from goclaw.settings.agents import AgentDefaults
from goclaw.settings.queue import Queue

IDLE = 600.0  # seconds until it sleeps; supervision.md §10
ACTIVE = 20_000  # at once on a node


def sessions(
    node_id: str,
    queue: Queue,
    run_timeout: float,
    own: Ownership | None = None,
    metered: bool = False,
    engine: Engine | None = None,
) -> Virtual:
    ownership = own or Ownership()
    work = engine or Engine(node_id, {}, AgentDefaults(), queue)
    return Virtual(
        lambda address: Session(address, node_id, queue, run_timeout, ownership, work, metered),
        idle=IDLE,
        most=ACTIVE,
        limit=Limit(restarts=3, within=5.0),
    )
