"""Where the product's actors live. A path tells the file: `/sessions/…` is `actors/sessions.py`."""

from __future__ import annotations

from goclaw.domain.access import MASTER_TENANT
from goclaw.runtime.address import Address

DRAIN = Address("system", "drain")
CHAOS = Address("system", "chaos")
ACTIVITY = Address("infra", "activity")
ESTOP = Address("infra", "estop")
SHARD_OWNER = Address("infra", "cluster", "shard_owner")
OUTBOX = Address("delivery", "outbox")
LOCKS = Address("engine", "queue", "locks")
QUOTA = Address("engine", "queue", "quota")
RETENTION = Address("infra", "retention")
POLICY = Address("engine", "policy", "file")
BUDGETS = Address("engine", "policy", "budgets")
APPROVALS = Address("engine", "policy", "approvals")
PROCESSES = Address("engine", "processes")
HOOKS = Address("engine", "policy", "hooks")
RATES = Address("engine", "policy", "rates")
SHELF = Address("engine", "policy", "shelf")
BENCH = Address("engine", "bench")
USAGE = Address("infra", "usage")
CRON = Address("cron", "ticker")
HEARTBEAT = Address("cron", "heartbeat")
ROSTER = Address("engine", "roster")
SUBAGENTS = Address("orch", "subagents")
ANNOUNCER = Address("orch", "announcer")
LOGIN = Address("edge", "login")
LISTENER = Address("edge", "listener")
CONNECTIONS = Address("edge", "conns")
REQUESTS = Address("edge", "http")


def agent(tenant_id: str, agent_key: str) -> Address:
    return Address("agents", tenant_id, agent_key)


def session(tenant_id: str, session_key: str) -> Address:
    return Address("sessions", tenant_id, session_key)


CONFIG = Address("infra", "config")


def provider(name: str, tenant_id: str = MASTER_TENANT) -> Address:
    """Of the gateway's own vendors, which are those of the master tenant too; other tenants have theirs beside them."""
    return Address("engine", "providers", provider_id(name, tenant_id))


def provider_id(name: str, tenant_id: str) -> str:
    return name if tenant_id == MASTER_TENANT else f"{name}@{tenant_id}"


def lane(name: str) -> Address:
    return Address("engine", "lanes", name)


def run(lane_name: str, run_id: str) -> Address:
    return Address("engine", "lanes", lane_name, run_id)
