"""A tenant asks for what is another's, by its ids, through every door. Contract: security.md §10, §17, SEC-33."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import psycopg

from goclaw.domain.access import MASTER_TENANT
from goclaw.operations.operation import Operation, collect
from tests.e2e.gateway import Client, Gateway, Json, ObedientVendor, Refusal

MINE, THEIRS = "mine33", "others33"
CANARY = "canary33"  # in everything they have, and in nothing that is asked
SESSION = f"agent:{MINE}:ws:direct:s"
TABLES = (
    *("agents", "agent_shares", "agent_context_files", "user_agent_overrides"),
    *("agent_config_permissions", "user_agent_profiles", "user_context_files", "sessions", "session_messages"),
    *("runs", "run_events", "run_steps", "cron_jobs", "agent_heartbeats"),
    *("llm_providers", "budget_purses", "custom_tools", "hooks", "exec_allow_rules"),
)
RULE = """
INSERT INTO exec_allow_rules (id, tenant_id, agent_id, pattern, match_kind, created_by)
SELECT gen_random_uuid(), tenant_id, id, %s, 'basename', 'lan' FROM agents WHERE agent_key = %s
"""
COUNT = count(1)
NAMED = {"id", "agent_id", "run_id", "session_key", "key", "hook_id", "job_id", "rule_id", "keys"}
OTHERS = {  # which have a field of such a name and mean something else by it, or have nothing to find here
    "approvals.approve": "nothing waits for a yes here: tests/actors/engine/test_approvals.py",
    "approvals.deny": "as above",
    "chaos.get_plan": "plans are of the gateway and not of a tenant",
    "chaos.start": "as above",
    "chaos.stop": "as above",
    "config.get": "a key of the configuration",
    "config.patch": "as above",
    "models.openai_model": "an agent as OpenAI's clients name it; its refusal has their shape",
    "openai_login.callback": "there is no id in it",
}
OPERATIONS = [
    op for op in collect("goclaw.operations") if NAMED & {*op.input.__struct_fields__} and op.name not in OTHERS
]
FILTERS = {  # a list is empty where nothing of it is there
    *("audit.list_lines", "budgets.list_budgets", "runs.list_runs", "sessions.list_sessions", "tasks.list_tasks"),
    *("usage.breakdown", "usage.get", "usage.summary", "usage.timeseries"),
    *("chat.abort", "chat.history", "chat.status"),  # as for a conversation nobody has begun
}


@asynccontextmanager
async def planted(gateway: Gateway, client: Client) -> AsyncIterator[None]:
    """One of everything for the first tenant, and at the end nothing of it."""
    async with gateway.http(x_goclaw_user_id="lan") as http:

        async def made(verb: str, path: str, **body: Any) -> Json:
            answer = await http.request(verb, path, json=body)
            assert answer.status_code < 300, f"{path} {answer.text}"
            return dict(answer.json()) if answer.content else {}

        agent = await made("POST", "/v1/agents", agent_key=MINE, display_name=CANARY, provider="fake", model="echo")
        place = f"/v1/agents/{agent['id']}"
        await made("POST", f"{place}/shares", user_id="vi", role="viewer")
        await made("PUT", f"{place}/overrides/vi", language="vi")
        tool = {"command": f"echo {CANARY}", "parameters": {"type": "object", "properties": {}}}
        tooled = await made("POST", "/v1/tools/custom", name=f"tool_{MINE}", **tool)
        hook = {
            "event": "stop",
            "handler_type": "http",
            "scope": "tenant",
            "config": {"url": f"https://{CANARY}.example.com/"},
        }
        hooked = await made("POST", "/v1/hooks", name=MINE, enabled=False, **hook)
        row = {"provider_type": "openai_compat", "api_base": "https://example.com/v1", "api_key": "x"}
        served = await made("POST", "/v1/providers", name=f"prov-{MINE}", display_name=CANARY, **row)
        await made("PUT", f"/v1/budgets/agent/{MINE}", unit="usd", window="day", limit=9, mode="hard")
        every = {"kind": "every", "everyMs": 3_600_000}
        job = await client.ask("cron.create", name=MINE, agentId=MINE, schedule=every, message=CANARY, enabled=False)
        await client.ask("agents.files.set", agentId=MINE, name="SOUL.md", content=CANARY)
        await client.ask("heartbeat.checklist.set", agentId=MINE, content=CANARY)
        await client.chat(CANARY, SESSION)
        await client.idle(SESSION)
        yield
        await client.ask("cron.delete", jobId=job["job"]["id"])
        await client.ask("sessions.delete", key=SESSION)
        await made("DELETE", f"/v1/hooks/{hooked['hookId']}")
        await made("DELETE", f"/v1/tools/custom/{tooled['id']}")
        await made("DELETE", f"/v1/providers/{served['id']}")
        await made("DELETE", f"/v1/budgets/agent/{MINE}")
        await made("DELETE", place)


@contextmanager
def second_tenant(gateway: Gateway) -> Iterator[tuple[str, dict[str, list[Json]]]]:
    """Copies of what was planted, with ids of their own, as rows of another tenant; and its id."""
    tenant = str(uuid4())
    with psycopg.connect(gateway.dsn) as db:
        db.execute("SET session_replication_role = replica")  # rows come in the order of this list
        db.execute("INSERT INTO tenants (id, slug, name) VALUES (%s, 'others', 'Others')", [tenant])
        db.execute(RULE, [CANARY, MINE])
        rows: dict[str, list[Json]] = {}
        names: set[str] = {MINE}
        for _ in range(3):  # what names what was found belongs to it
            for table in TABLES:
                query = f"SELECT to_jsonb(t) FROM {table} t WHERE tenant_id = %s"
                found = [row for (row,) in db.execute(query, [MASTER_TENANT])]
                rows[table] = [row for row in found if any(name in json.dumps(row) for name in names)]
                names |= {row[id] for row in rows[table] for id in ("id", "run_id") if isinstance(row.get(id), str)}
        new = {name: str(uuid4()) for name in names - {MINE}} | {MINE: THEIRS, MASTER_TENANT: tenant}
        copies: dict[str, list[Json]] = {}
        for table in TABLES:
            for row in rows[table]:
                text = json.dumps(row)
                for old, other in new.items():
                    text = text.replace(old, other)
                copy = json.loads(text)
                if "event_id" in copy:
                    copy["event_id"] += 10**9
                whole = f"SELECT * FROM jsonb_populate_record(NULL::{table}, %s)"
                db.execute(f"INSERT INTO {table} OVERRIDING SYSTEM VALUE {whole}", [json.dumps(copy)])
                copies.setdefault(table, []).append(copy)
        db.commit()
        try:
            yield tenant, copies
        finally:
            for table in TABLES:
                db.execute(f"DELETE FROM {table} WHERE tenant_id = %s", [tenant])
            db.execute("DELETE FROM tenants WHERE id = %s", [tenant])


def kept(gateway: Gateway, tenant: str) -> dict[str, list[str]]:
    query = "SELECT to_jsonb(t)::text FROM {} t WHERE tenant_id = %s ORDER BY 1"
    return {table: [row for (row,) in gateway.rows(query.format(table), tenant)] for table in TABLES}


def asking(op: Operation, theirs: dict[str, list[Json]]) -> Json:
    """What this operation takes, with their ids in it."""
    module = op.name.partition(".")[0]
    name = "SOUL.md" if module == "agent_files" else "x"
    id = {
        "custom_tools": theirs["custom_tools"][0]["id"],
        "providers": theirs["llm_providers"][0]["id"],
        "embeddings": theirs["llm_providers"][0]["id"],
        "approvals": str(uuid4()),
    }.get(module, theirs["agents"][0]["id"])
    session = theirs["sessions"][0]["session_key"]
    known: Json = {
        "id": id,
        "agent_id": theirs["agents"][0]["id"],
        "agent_ids": [],
        "run_id": theirs["runs"][0]["run_id"],
        "session_key": session,
        "key": THEIRS if module == "budgets" else session,
        "keys": [session],
        "hook_id": theirs["hooks"][0]["id"],
        "job_id": theirs["cron_jobs"][0]["id"],
        "scope": "agent",
        "unit": "usd",
        "window": "day",
        "limit": 1,
        "amount": 1,
        "reason": "x",
        "user_id": "vi",
        "file_name": "USER.md",
        "name": name,
        "rule_id": theirs["exec_allow_rules"][0]["id"],
        "pinned": True,
        "schedule": {"kind": "every", "everyMs": 3_600_000},
        "command": "echo x",
        "parameters": {"type": "object", "properties": {}},
        "content": "x",
        "message": "x",
        "language": "en",
        "label": "x",
        "display_name": "x",
        "enabled": True,
        "updates": {"priority": 5},
        "patch": {"name": "x"},
        "seq": 1,
        "keep_last": 1,
        "after_run_seq": 0,
        "config_type": "file_writer",
        "permission": "allow",
        "provider": "fake",
        "model": "echo",
        "tool": "datetime",
    }
    if op.name == "session_past.at":
        del known["run_id"]
    return {name: known[name] for name in op.input.__struct_fields__ if name in known}


async def test_nothing_of_another_tenant_is_found_by_its_ids(
    gateway: Gateway, client: Client, vendor: ObedientVendor
) -> None:
    """SEC-33."""
    async with planted(gateway, client):
        with second_tenant(gateway) as (tenant, theirs):
            before = kept(gateway, tenant)
            told = [answer async for answer in answers(gateway, theirs)]
            after = kept(gateway, tenant)
    assert len(told) > 150
    assert [one for one in told if CANARY in str(one)] == []
    assert [one for one in told if one[1] != ("" if one[0] in FILTERS else "NOT_FOUND")] == []
    assert after == before


async def answers(gateway: Gateway, theirs: dict[str, list[Json]]) -> AsyncIterator[tuple[str, str, str]]:
    """What each operation is answered to another tenant's admin: its name, the code of a refusal, and the whole."""
    async with gateway.client("min") as stranger, gateway.http(x_goclaw_user_id="min") as http:
        for op in OPERATIONS:
            params = asking(op, theirs)
            for rpc in op.rpc:
                id = f"t{next(COUNT)}"
                await stranger.raw(json.dumps({"type": "req", "id": id, "method": rpc.name, "params": params}))
                try:
                    yield op.name, "", json.dumps(await stranger.answer(id))
                except Refusal as refusal:
                    yield op.name, refusal.code, str(refusal)
            for door in op.http:
                path = door.path
                for name, value in params.items():
                    path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
                body = {name: value for name, value in params.items() if f"{{{name}}}" not in door.path}
                plain = {name: value for name, value in body.items() if not isinstance(value, list | dict)}
                sent: Json = {"params": plain} if door.verb == "GET" else {"json": body}
                answer = await http.request(door.verb, path, **sent)
                yield op.name, answer.json()["code"] if answer.status_code >= 400 else "", answer.text
