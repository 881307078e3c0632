"""Who talks to an agent, and the files it has for each of them. Contract: edge-http.md §5."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta, Struct

from goclaw.domain.access import Role
from goclaw.domain.agent import MANAGERS, AgentProfile
from goclaw.domain.errors import Rejected, forbidden, invalid, not_found
from goclaw.knowledge.context_files import LONGEST, USER
from goclaw.operations.activity import by, record, recorded
from goclaw.operations.context import Context
from goclaw.operations.operation import Http, operation
from goclaw.operations.turns import resolve_agent, role_of
from goclaw.stores import context_files
from goclaw.stores.context_files import StoredText, TooLarge

PAGE = 200
METADATA = 64 * 1024  # bytes


class ListInstances(Struct, kw_only=True):
    id: str
    limit: Annotated[int, Meta(ge=1)] | None = None
    offset: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0


class Instance(Struct, kw_only=True):
    user_id: str
    first_seen_at: datetime
    last_seen_at: datetime
    file_count: int
    metadata: dict[str, Any]


class InstancePage(Struct, kw_only=True):
    instances: list[Instance]
    total: int
    limit: int
    offset: int


class OneInstance(Struct, kw_only=True):
    id: str
    user_id: str


class OneFile(OneInstance, kw_only=True):
    file_name: str


class WriteFile(OneFile, kw_only=True):
    CLEARED_BY_EMPTY: ClassVar = frozenset({"content"})

    content: Annotated[str, Meta(max_length=LONGEST)]


class FileOfUser(Struct, kw_only=True):
    file_name: str
    content: str
    size: int
    updated_at: datetime


class ListedFile(FileOfUser, kw_only=True):
    agent_id: str
    user_id: str


class FilesOfUser(Struct, kw_only=True):
    files: list[ListedFile]


class DescribeInstance(OneInstance, kw_only=True):
    metadata: dict[str, Any]


class Described(Struct, kw_only=True):
    user_id: str
    metadata: dict[str, Any]


@operation(Http("GET /v1/agents/{id}/instances", Role.VIEWER))
async def list_instances(ctx: Context, ask: ListInstances) -> InstancePage:
    """List who talked to an agent, last seen first."""
    agent = await managed(ctx, ask.id)
    limit = context_files.LISTED if ask.limit is None else min(ask.limit, PAGE)
    named = {"tenant": ctx.caller.tenant_id, "agent": agent.id}
    rows = await ctx.db(context_files.instances, **named, limit=limit, offset=ask.offset)
    found = [Instance(**{name: getattr(row, name) for name in Instance.__struct_fields__}) for row in rows]
    return InstancePage(instances=found, total=rows[0].total if rows else 0, limit=limit, offset=ask.offset)


@operation(Http("GET /v1/agents/{id}/instances/{user_id}/files", Role.VIEWER))
async def list_files(ctx: Context, ask: OneInstance) -> FilesOfUser:
    """List a user's own files of an agent, with what is in them."""
    agent = await managed(ctx, ask.id)
    rows = await ctx.db(context_files.of_user, tenant=ctx.caller.tenant_id, agent=agent.id, user=ask.user_id)
    whose: dict[str, Any] = {"agent_id": agent.id, "user_id": ask.user_id}
    return FilesOfUser(files=[ListedFile(**whose, **_members(row)) for row in rows])


@operation(Http("GET /v1/agents/{id}/instances/{user_id}/files/{file_name}", Role.VIEWER))
async def get_file(ctx: Context, ask: OneFile) -> FileOfUser:
    """Read one of a user's own files."""
    listed = await list_files(ctx, OneInstance(id=ask.id, user_id=ask.user_id))
    for file in listed.files:
        if file.file_name == ask.file_name:
            return FileOfUser(**{name: getattr(file, name) for name in FileOfUser.__struct_fields__})
    raise Rejected(not_found("file", ask.file_name[:100]))


@operation(Http("PUT /v1/agents/{id}/instances/{user_id}/files/{file_name}", Role.OPERATOR))
@recorded
async def write_file(ctx: Context, ask: WriteFile) -> FileOfUser:
    """Replace what an agent knows of a user: USER.md, and no other file."""
    if ask.file_name != USER:
        raise Rejected(forbidden(f"only {USER} may be written here"))
    if len(ask.content.encode("utf-8", "surrogatepass")) > LONGEST:
        raise Rejected(invalid("content", f"longer than {LONGEST} bytes"))
    agent = await managed(ctx, ask.id)
    row = await ctx.db(
        context_files.write_own,
        tenant=ctx.caller.tenant_id,
        agent=agent.id,
        user=ask.user_id,
        name=USER,
        content=ask.content,
        by=by(ctx),
    )
    await record(ctx, "agent.user_file", "agent", agent.id, user=ask.user_id, file=USER)
    return FileOfUser(**_members(row))


async def describe(ctx: Context, ask: DescribeInstance) -> Described:
    """Merge what is known of somebody who talked to an agent; a null takes a member away."""
    if len(msgspec.json.encode(ask.metadata)) > METADATA:
        raise Rejected(invalid("metadata", f"longer than {METADATA} bytes"))
    agent = await managed(ctx, ask.id)
    try:
        found = await ctx.db(
            context_files.describe,
            tenant=ctx.caller.tenant_id,
            agent=agent.id,
            user=ask.user_id,
            changes=ask.metadata,
            most=METADATA,
        )
    except TooLarge:
        raise Rejected(invalid("metadata", f"longer than {METADATA} bytes with what is there")) from None
    if found is None:
        raise Rejected(not_found("instance", ask.user_id[:100]))
    return Described(user_id=ask.user_id, metadata=found)


# --- parts ----------------------------------------------------------------------------------------


async def managed(ctx: Context, id: str) -> AgentProfile:
    """An agent whose users the caller may see."""
    agent = await resolve_agent(ctx, id)
    if await role_of(ctx, agent) not in MANAGERS:
        raise Rejected(forbidden("not_yours"))
    return agent


def _members(row: StoredText) -> dict[str, Any]:
    return {"file_name": row.name, "content": row.content, "size": row.size, "updated_at": row.updated_at}
