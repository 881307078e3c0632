"""The audit for those who may read it, and whether anybody touched it. Contract: observability.md §12."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import trio
from msgspec import Meta, Struct, field

from goclaw.domain.access import Role
from goclaw.operations.actor_crashes import Moment
from goclaw.operations.context import Context
from goclaw.operations.operation import Cli, Http, Rpc, operation
from goclaw.operations.params import moment
from goclaw.security.audit import Break, Checker
from goclaw.stores import audit
from goclaw.stores.audit import Wanted
from goclaw.stores.audit_file import files_of, lines_of

PAGE = 500  # lines at most
BATCH = 1000  # lines of the table in one look


class ListAudit(Struct, kw_only=True):
    """`action` may end in `*`. `from` and `to` are ISO times, or seconds or milliseconds of the epoch."""

    ALIASES: ClassVar = {"since": "from", "until": "to"}

    action: Annotated[str, Meta(max_length=60)] | None = None
    actor_id: Annotated[str, Meta(max_length=255)] | None = None
    decision: Literal["allow", "deny", "info", "error"] | None = None
    run_id: Annotated[str, Meta(pattern=r"^[0-9a-fA-F-]{36}$")] | None = None
    since: Moment | None = field(name="from", default=None)
    until: Moment | None = field(name="to", default=None)
    limit: Annotated[int, Meta(ge=1, le=PAGE)] = 100
    offset: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0


class AuditPage(Struct, kw_only=True):
    lines: list[dict[str, Any]]


class VerifyAudit(Struct, kw_only=True):
    """Both sinks."""


class Verdict(Struct, kw_only=True):
    """`broken` is the first line that is not as it was written; `sink` says where."""

    ok: bool
    lines: int
    chains: dict[str, int]  # name → number of its last line in the table
    broken: Break | None = None
    sink: str = ""


@operation(Rpc("audit.list", Role.ADMIN), Http("GET /v1/audit", Role.ADMIN), Cli("audit list"))
async def list_lines(ctx: Context, ask: ListAudit) -> AuditPage:
    """List the audit, newest first. Lines of the house itself are the owner's."""
    wanted = Wanted(
        tenant=None if ctx.caller.is_owner else ctx.caller.tenant_id,
        action=ask.action,
        actor_id=ask.actor_id,
        decision=ask.decision,
        run_id=ask.run_id,
        since=moment("from", ask.since),
        until=moment("to", ask.until),
    )
    return AuditPage(lines=await ctx.db(audit.page, wanted, limit=ask.limit, offset=ask.offset))


@operation(Rpc("audit.verify", Role.ADMIN), Http("POST /v1/audit/verify", Role.ADMIN))
async def verify(ctx: Context, ask: VerifyAudit) -> Verdict:
    """Check every chain in the table, this node's files, and that both say the same."""
    book = ctx.house.audit
    assert book is not None
    await book.keep()
    kept, in_file = await trio.to_thread.run_sync(_read, files_of(book.path)) if book.file_ok else ({}, Checker("file"))
    table, differs = Checker("table"), None
    name, seq = "", 0
    while batch := await ctx.db(audit.after, name, seq, limit=BATCH):
        for line in batch:
            table.read(line)
            name, seq = line["chain"], line["seq"]
            if differs is None and kept.get((name, seq), line["hash"]) != line["hash"]:
                differs = Break(chain=name, seq=seq, why="sinks differ")
    chains = {name: last for name, (last, _) in table.heads.items()}
    for sink, broken in (("table", table.broken()), ("file", in_file.broken()), ("both", differs)):
        if broken is not None:
            return Verdict(ok=False, lines=table.lines, chains=chains, broken=broken, sink=sink)
    return Verdict(ok=True, lines=table.lines, chains=chains)


def _read(files: Sequence[Path]) -> tuple[dict[tuple[str, int], str], Checker]:
    """The hashes of the last file's lines, and what a check of all found: the chain ties the others to it."""
    checker = Checker("file")
    kept: dict[tuple[str, int], str] = {}
    for line in chain.from_iterable(map(lines_of, files[:-1])):
        checker.read(line)
    for line in lines_of(files[-1]):
        checker.read(line)
        if isinstance(line.get("seq"), int):
            kept[str(line.get("chain")), line["seq"]] = str(line.get("hash"))
    return kept, checker
