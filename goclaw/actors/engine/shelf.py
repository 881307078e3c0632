"""What is said of tools: which are turned off, how they are set, which ones operators made.

Address   /engine/policy/shelf
Contract  tools.md §1.4, §3.3, §14
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from msgspec import Raw, Struct

from goclaw.domain.errors import StoreError
from goclaw.domain.tool_rules import Rules
from goclaw.domain.tools import TOOLS, ToolsChanged
from goclaw.runtime.actor import Actor, Context, handles
from goclaw.runtime.message import Message
from goclaw.stores import builtin_tools, custom_tools
from goclaw.stores.custom_tools import CustomTool
from goclaw.tools.policy import strangers
from goclaw.tools.requires import missing
from goclaw.tools.tool import Tool

FRESH = 2.0  # seconds until rows that another node wrote are seen; security.md §8.3
TENANTS = 1000  # whose rows are kept; who asked longest ago is forgotten first


class Stock(Struct, frozen=True):
    """What one agent finds. `off` are built-in tools it does not."""

    off: tuple[str, ...] = ()
    settings: tuple[tuple[str, Raw], ...] = ()
    custom: tuple[CustomTool, ...] = ()


class TakeStock(Message[Stock]):
    tenant_id: str
    agent_id: str


class Rows(Struct, frozen=True):
    """Of a tenant, as read at `at`."""

    at: float
    off: tuple[str, ...]
    settings: tuple[tuple[str, Raw], ...]
    custom: tuple[CustomTool, ...]


class Shelf(Actor):
    weather = (StoreError,)

    def __init__(self, tools: Mapping[str, Tool], rules: Rules) -> None:
        self.tools = tools
        self.rules: Rules | None = rules  # the gateway's, until they were looked through
        self.rows: OrderedDict[str, Rows] = OrderedDict()
        self.stale: set[str] = set()

    async def on_start(self, ctx: Context) -> None:
        ctx.join(TOOLS)

    @handles
    def changed(self, ctx: Context, news: ToolsChanged) -> None:
        """The next turn sees it."""
        self.stale |= {news.tenant_id} if news.tenant_id else set(self.rows)

    @handles
    async def stock(self, ctx: Context, ask: TakeStock) -> Stock:
        rows = await self._of(ctx, ask.tenant_id)
        own = {row.name: row for row in rows.custom if row.agent_id in (None, ask.agent_id)}  # its own come last
        return Stock(rows.off, rows.settings, tuple(own.values()))

    async def _of(self, ctx: Context, tenant: str) -> Rows:
        rows, stale = self.rows.get(tenant), tenant in self.stale
        if rows is None or stale or ctx.clock.monotonic() - rows.at > FRESH:
            try:
                rows = await self._read(ctx, tenant)
            except StoreError:
                if rows is None or stale:
                    raise
            self._warn(ctx, rows)
            self.rows[tenant] = rows
            self.stale.discard(tenant)
        self.rows.move_to_end(tenant)
        if len(self.rows) > TENANTS:
            self.rows.popitem(last=False)
        return rows

    async def _read(self, ctx: Context, tenant: str) -> Rows:
        said = await ctx.db(builtin_tools.page, tenant=tenant)
        made = await ctx.db(custom_tools.in_use, tenant=tenant)
        off = {row.name for row in said if not row.on} | {name for name, tool in self.tools.items() if missing(tool)}
        return Rows(
            at=ctx.clock.monotonic(),
            off=tuple(sorted(off)),
            settings=tuple((row.name, row.settings) for row in said if row.settings != Raw(b"{}")),
            custom=tuple(made),
        )

    def _warn(self, ctx: Context, rows: Rows) -> None:
        """Once, of names in the gateway's rules that mean nothing (tools.md §4)."""
        if self.rules is None:
            return
        groups = {**{name: tool.groups for name, tool in self.tools.items()}, **{row.name: () for row in rows.custom}}
        if odd := strangers(self.rules, groups):
            ctx.log.warning("tools.unknown_names", names=odd)
        self.rules = None

    def snapshot(self) -> dict[str, Any]:
        return {"tenants": len(self.rows)}
