"""The tools a run could have, as they stand when it begins: it keeps them to its end. Contract: tools.md §1.4, §3.3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
from msgspec import Raw

from goclaw.actors.engine.shelf import Stock, TakeStock
from goclaw.domain.address import SHELF
from goclaw.domain.agent import AgentProfile
from goclaw.domain.delivery import Courier, can
from goclaw.runtime.actor import Context
from goclaw.stores.custom_tools import CustomTool
from goclaw.tools.tool import Tool

WITHIN = 10.0  # seconds to find out


class Maker(Protocol):
    """Makes tools of rows."""

    def tool(self, row: CustomTool) -> Tool: ...


@dataclass(frozen=True)
class Kit:
    """`absent` exist and are turned off, or lack something."""

    tools: Mapping[str, Tool]
    absent: frozenset[str] = frozenset()
    settings: Mapping[str, Raw] = field(default_factory=dict)


async def kit_of(
    ctx: Context,
    tools: Mapping[str, Tool],
    maker: Maker | None,
    tenant: str,
    agent: AgentProfile,
    channel: Courier | None = None,
) -> Kit:
    """What this agent has of `tools` in this channel, and those that operators made. A tool of ours keeps its name."""
    stock: Stock = await ctx.ask(SHELF, TakeStock(tenant_id=tenant, agent_id=agent.id), within=WITHIN)
    lacking = {name for name, tool in tools.items() if tool.ability is not None and not can(channel, tool.ability)}
    absent = frozenset(stock.off) & tools.keys() | lacking
    here = {name: tool for name, tool in tools.items() if name not in absent}
    if maker is not None:
        here |= {row.name: maker.tool(row) for row in stock.custom if row.name not in tools}
    return Kit(dict(sorted(here.items())), absent, {**dict(stock.settings), **_own(agent)})


def _own(agent: AgentProfile) -> dict[str, Any]:
    """What the agent's record says of its tools, by name."""
    try:
        return msgspec.json.decode(agent.tool_settings, type=dict[str, Raw])
    except msgspec.DecodeError:
        return {}
