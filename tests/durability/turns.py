"""Turns straight into the store, for proofs that need no gateway."""

from __future__ import annotations

from typing import Any

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.chat import Usage
from goclaw.domain.ids import new_id
from goclaw.domain.run import LANE_OF, RunKind, RunRequest, RunResult
from goclaw.stores import agents, run_acceptance, run_claims
from goclaw.stores.database import Database
from goclaw.stores.runs import Claimed
from goclaw.stores.sessions import NewMessage

NODE = "0193a5b0-0000-7000-8000-00000000000a"
OTHER = "0193a5b0-0000-7000-8000-00000000000b"


async def agent_of(database: Database) -> str:
    await database.run(agents.seed, id=new_id(), tenant=MASTER_TENANT, key="default", name="G", owner="system")
    agent = await database.run(agents.default, tenant=MASTER_TENANT)
    assert agent is not None
    return agent.id


async def accept(
    database: Database, agent: str, text: str, key: str, *, kind: RunKind = "chat", most: int = 1, **more: Any
) -> str:
    run_id = new_id()
    given: dict[str, Any] = {
        "session_kind": "direct",
        "channel": "ws",
        "label": text,
        "max_concurrent": most,
        "user": "lan",
        "kind": kind,
        "lane": LANE_OF[kind],
        "timeout": 600.0,
        "request": RunRequest(message=text),
        "request_hash": "0" * 64,
    }
    await database.run(
        run_acceptance.accept,
        run_id=run_id,
        session_id=new_id(),
        tenant=MASTER_TENANT,
        key=key,
        agent_id=agent,
        agent_key="default",
        **{**given, **more},
    )
    return run_id


async def claim(database: Database, *keys: str, node: str = NODE, limit: int = 8) -> list[Claimed]:
    wanted = [(MASTER_TENANT, key) for key in keys]
    return await database.run(run_claims.claim, node=node, lane="main", sessions=wanted, limit=limit)


def outcome(run: Claimed, content: str = "", **more: Any) -> RunResult:
    usage = Usage(prompt_tokens=3, completion_tokens=2)
    return RunResult(run_id=run.run_id, session_key=run.session_key, content=content, usage=usage, **more)


def spoken(run: Claimed, *answers: str) -> list[NewMessage]:
    """The turn as history."""
    said = [NewMessage(id=new_id(), role="user", content=run.request.message)]
    return [*said, *(NewMessage(id=new_id(), role="assistant", content=text) for text in answers)]
