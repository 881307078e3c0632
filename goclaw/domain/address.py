"""Where the product's actors live. A path tells the file: `/sessions/…` is `actors/sessions.py`."""

from __future__ import annotations

from goclaw.runtime.address import Address

DRAIN = Address("system", "drain")
CHAOS = Address("system", "chaos")
ACTIVITY = Address("infra", "activity")
SHARD_OWNER = Address("infra", "cluster", "shard_owner")
OUTBOX = Address("delivery", "outbox")
RETENTION = Address("infra", "retention")
BUDGETS = Address("engine", "policy", "budgets")
USAGE = Address("infra", "usage")
CRON = Address("cron", "ticker")
HEARTBEAT = Address("cron", "heartbeat")
LISTENER = Address("edge", "listener")
CONNECTIONS = Address("edge", "conns")
REQUESTS = Address("edge", "http")


def agent(tenant_id: str, agent_key: str) -> Address:
    return Address("agents", tenant_id, agent_key)


def session(tenant_id: str, session_key: str) -> Address:
    return Address("sessions", tenant_id, session_key)


def provider(name: str) -> Address:
    return Address("engine", "providers", name)


def lane(name: str) -> Address:
    return Address("engine", "lanes", name)


def run(lane_name: str, run_id: str) -> Address:
    return Address("engine", "lanes", lane_name, run_id)
