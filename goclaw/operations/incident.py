"""All that is known of one run in one archive, for whoever must find out why. Contract: observability.md §16."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import msgspec
import trio
from msgspec import Struct, to_builtins

from goclaw.domain.address import run as run_address
from goclaw.domain.address import session
from goclaw.operations import activity
from goclaw.operations.context import Context
from goclaw.operations.metrics import exposition, look
from goclaw.operations.run_checks import TRAIL, WORK
from goclaw.operations.run_rows import event_of
from goclaw.operations.runs import GetRun, run_seen
from goclaw.runtime import tree
from goclaw.security.known import NOTHING, Forms
from goclaw.security.scrub import scrubbed
from goclaw.settings.show import masked
from goclaw.stores import activity as activities
from goclaw.stores import actor_log, run_views
from goclaw.stores.migrate import steps as migrations
from goclaw.stores.run_views import RunRow

LIMIT = 50 * 1024 * 1024  # bytes of all members together, so the archive is smaller
NEARBY = timedelta(seconds=60)  # around the run's life
LINES = 1000  # crashes of one path, lines of history
DEPTH = 4  # levels of the tree below a path
ABSENT = {
    "trace.json": "traces are not recorded",
    "logs.jsonl": "logs go to the process's stderr and are not kept here",
}


class Bundle(Struct, frozen=True, kw_only=True):
    name: str
    body: bytes


async def bundle(ctx: Context, ask: GetRun) -> Bundle:
    """Gather and pack. Names of members are fixed; what has no source, or no room, is named in the manifest."""
    row = await run_seen(ctx, ask.run_id)
    tenant, run_id = ctx.caller.tenant_id, row.run_id
    await activity.record(ctx, "run.incident", "run", run_id, state=row.state)
    events = await ctx.db(run_views.events, tenant=tenant, run_id=run_id, limit=TRAIL)
    steps = await ctx.db(run_views.steps, tenant=tenant, run_id=run_id, limit=WORK)
    effects = await ctx.db(run_views.effects, tenant=tenant, run_id=run_id, limit=WORK)
    done = await ctx.db(activities.about, tenant=tenant, entity_type="run", entity_id=run_id, limit=LINES)
    members: dict[str, list[Any] | str] = {
        "run.json": [row],
        "events.jsonl": [{**to_builtins(event_of(event)), "session_seq": event.session_seq} for event in events],
        "steps.jsonl": list(steps),
        "effects.jsonl": list(effects),
        "actors.json": [await _actors(ctx, row)],
        "metrics.txt": exposition(await look(ctx.house)),
        "audit.jsonl": list(done),
    }
    facts = {
        "run_id": run_id,
        "made_at": ctx.now(),
        "version": ctx.house.version,
        "node": {"id": ctx.house.node_id, "name": ctx.house.node_name},
        "config_hash": hashlib.sha256(msgspec.json.encode(masked(ctx.house.settings), order="sorted")).hexdigest(),
        "policy_version": row.policy_version,
    }
    packed = await trio.to_thread.run_sync(pack, members, facts, ctx.house.known.forms)
    return Bundle(name=f"incident-{run_id[:8]}.tar.gz", body=packed)


async def _actors(ctx: Context, row: RunRow) -> dict[str, Any]:
    """Crashes of the actors that had to do with it, while it lived, and how those actors are now."""
    tenant = ctx.caller.tenant_id
    paths = (session(tenant, row.session_key), run_address(row.lane, row.run_id))
    since, until = row.created_at - NEARBY, (row.finished_at or ctx.now()) + NEARBY
    crashes: list[actor_log.Entry] = []
    for path in paths:
        wanted = actor_log.Wanted(tenant=tenant, path=str(path), since=since, until=until)
        crashes += await ctx.db(actor_log.page, wanted, limit=LINES)
    living = {str(path): await tree.describe(ctx.system, path, DEPTH) for path in paths}
    return {"crashes": crashes, "now": {path: node for path, node in living.items() if node is not None}}


def pack(
    members: dict[str, list[Any] | str], facts: dict[str, Any], known: Forms = NOTHING, limit: int = LIMIT
) -> bytes:
    """A tar.gz of the members, values scrubbed, and a manifest with their hashes. Lines without room are left out."""
    notes = dict(ABSENT)
    room = limit
    files: dict[str, bytes] = {}
    for name, values in members.items():
        if isinstance(values, str):
            encoded: Iterable[bytes] = values.encode().splitlines(keepends=True)
        else:
            encoded = (_line(value, known) for value in values)
        lines, left_out = _fitting(encoded, room)
        files[name] = b"".join(lines)
        room -= len(files[name])
        if left_out:
            notes[name] = f"{left_out} of {left_out + len(lines)} lines had no room"
    manifest = {
        **facts,
        "schema": max(step.version for step in migrations()),
        "members": {
            name: {"sha256": hashlib.sha256(body).hexdigest(), "bytes": len(body)} for name, body in files.items()
        },
        "notes": notes,
    }
    about = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    return _archive([("manifest.json", about), *files.items()])


def _line(value: Any, known: Forms) -> bytes:
    return msgspec.json.encode(scrubbed(to_builtins(value, str_keys=True), known)) + b"\n"


def _fitting(lines: Iterable[bytes], room: int) -> tuple[list[bytes], int]:
    """The first lines, as many as there is room for, and how many were left out."""
    kept: list[bytes] = []
    left_out = 0
    for line in lines:
        if left_out or len(line) > room:
            left_out += 1
        else:
            kept.append(line)
            room -= len(line)
    return kept, left_out


def _archive(files: Iterable[tuple[str, bytes]]) -> bytes:
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w|") as tar:
        for name, body in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))
    return packed.getvalue()
