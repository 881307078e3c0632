"""An agent's own texts as its tools reach them, by the write rules. Contract: agent-loop.md §7.4."""

from __future__ import annotations

from goclaw.domain.address import agent as agent_address
from goclaw.domain.agent import AGENTS, AgentChanged, AgentProfile, GetProfile
from goclaw.knowledge import context_files as files
from goclaw.knowledge.context_files import BOOTSTRAP, GUARDED, IDENTITY, LONGEST, MEMORY, TOOLS, VIRTUAL
from goclaw.knowledge.identity import identity
from goclaw.operations.context import House
from goclaw.stores import agent_shares, context_files
from goclaw.stores.context_files import Found
from goclaw.tools.context_files import Kept, Stored
from goclaw.tools.tool import ToolContext, ToolFailed

MADE = "{name} is made by the gateway and is in your instructions already; it is no file"
UNWRITTEN = "({name} does not exist yet; write it to begin it)"


class FilesForAgents:
    """Implements `tools.context_files.ContextFiles`. HEARTBEAT.md is a file of the workspace, and not ours."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def read(self, ctx: ToolContext, path: str) -> Kept | None:
        name = files.known(path)
        if name in VIRTUAL:
            return Kept(MADE.format(name=name), exists=False)
        agent = await self._agent(ctx) if name else None
        if agent is None or not _has(agent, name):
            return None
        if name in GUARDED and not await self._writer(ctx):
            raise ToolFailed("denied_policy", f"only file writers of this group may read {name}")
        found: Found = await self._house.system.database.run(context_files.read, **_named(ctx))
        texts = {text.scope: text.content for text in found.texts if text.name == name}
        if texts:
            return Kept(texts["user"] if "user" in texts else texts["agent"])
        if name == TOOLS:
            return None
        if name == MEMORY:
            return Kept(UNWRITTEN.format(name=f"memory file {name}"), exists=False)
        raise ToolFailed("not_found", f"{name} does not exist yet")

    async def write(self, ctx: ToolContext, path: str, text: str) -> Stored | None:
        name = files.known(path)
        agent = await self._agent(ctx) if name else None
        if agent is None or not (name in VIRTUAL or _has(agent, name)):
            return None
        text = text.replace("\0", "")
        why = files.refusal(
            name, text, type=agent.agent_type, self_evolve=agent.self_evolve, writer=await self._writer(ctx)
        )
        if why:
            raise ToolFailed("denied_policy", why)
        if len(text.encode("utf-8", "surrogatepass")) > LONGEST:
            raise ToolFailed("too_large", f"{name} may have {LONGEST} bytes")
        run, named = self._house.system.database.run, _named(ctx)
        if name == BOOTSTRAP and not text.strip():
            await run(context_files.drop_own, **named, name=name)
            return Stored()
        said = {"name": name, "content": text, "by": ctx.asker.user_id}
        if files.owner_of(name, agent.agent_type) == "agent":
            await run(context_files.write, tenant=named["tenant"], agent=named["agent"], **said)
            return Stored()
        # what one user calls his copy of an open agent is no news to the others, unless he owns it
        columns = identity(text) if name == IDENTITY and agent.owner_id == ctx.asker.user_id else {}
        await run(context_files.write_own, **named, **said, columns=columns)
        if columns:
            self._house.system.publish(AGENTS, AgentChanged(tenant_id=ctx.asker.tenant_id))
        return Stored()

    async def listed(self, ctx: ToolContext, directory: str) -> tuple[tuple[str, int], ...]:
        if directory not in ("", ".") or not ctx.asker.agent_id:
            return ()
        hidden = frozenset() if await self._writer(ctx) else GUARDED
        agent = await self._agent(ctx)
        found = await self._house.system.database.run(context_files.read, **_named(ctx))
        sizes = {text.name: 0 for text in found.texts if files.known(text.name) and _has(agent, text.name)}
        for text in sorted(found.texts, key=lambda text: text.scope):  # the user's own comes after, and stays
            if text.name in sizes:
                sizes[text.name] = len(text.content.encode("utf-8", "surrogatepass"))
        return tuple(sorted((name, size) for name, size in sizes.items() if name not in hidden))

    async def permit(self, ctx: ToolContext, path: str) -> None:
        if not await self._writer(ctx):
            raise ToolFailed("denied_policy", f"only file writers of this group may change {path}")

    async def _agent(self, ctx: ToolContext) -> AgentProfile:
        to = agent_address(ctx.asker.tenant_id, ctx.asker.agent_key)
        return await self._house.system.ask(to, GetProfile(), within=10)

    async def _writer(self, ctx: ToolContext) -> bool:
        """Between two everybody is; in a group only who was named (fails closed)."""
        if ctx.peer_kind != "group":
            return True
        asker = ctx.asker
        allowed: bool = await self._house.system.database.run(
            agent_shares.may_write,
            tenant=asker.tenant_id,
            agent=asker.agent_id,
            scope=f"group:{asker.channel}:{asker.chat_id}",
            users=[ctx.sender_id or asker.user_id],
        )
        return allowed


def _has(agent: AgentProfile, name: str) -> bool:
    """What users of an open agent have in common is nothing."""
    return not (agent.agent_type == "open" and name == files.USER_PREDEFINED)


def _named(ctx: ToolContext) -> dict[str, str]:
    return {"tenant": ctx.asker.tenant_id, "agent": ctx.asker.agent_id, "user": ctx.asker.user_id}
