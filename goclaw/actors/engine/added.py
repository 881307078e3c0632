"""One provider that an operator added: its row says how it is opened, and may be written while calls are under way.

Address   /engine/providers/{name}, of other tenants than the master /engine/providers/{name}@{tenant}
Contract  providers.md §3 P3.1, P3.9; security.md §4.1
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio
from msgspec.structs import replace

from goclaw.actors.engine.provider import ProviderActor
from goclaw.domain.errors import ProviderError, Rejected, StoreError, not_found, unavailable
from goclaw.domain.model import Changed
from goclaw.providers.account import Account
from goclaw.providers.authority import AUTHORITY
from goclaw.providers.catalogue import BY_NAME, CHATGPT
from goclaw.providers.provider import Provider, Runs, open_provider
from goclaw.providers.rows import configured, guard_of, program_of, settings_of, vendor_of
from goclaw.runtime.actor import Context, handles
from goclaw.runtime.message import Message
from goclaw.security.box import Box, Place, SecretUnreadable
from goclaw.security.known import Known
from goclaw.security.scrub import of_headers
from goclaw.settings.failover import Failover
from goclaw.settings.providers import PROGRAMS
from goclaw.stores import cooldowns
from goclaw.stores import providers as stored
from goclaw.stores.providers import KEY_COLUMN, ProviderRow

GRACE = 60.0  # seconds in which whoever was let in a moment ago begins his call


@dataclass(frozen=True)
class Opening:
    """How rows become clients."""

    box: Box = field(default_factory=Box)
    failover: Failover = field(default_factory=Failover)
    allow_private: bool = False
    authority: str = AUTHORITY
    data_dir: Path = Path()
    known: Known = field(default_factory=Known)

    def learn(self, row: ProviderRow) -> None:
        """What the row must not tell, whether it is ever asked or not."""
        try:
            key = self.box.unseal(row.api_key, Place(KEY_COLUMN, row.id)) if row.api_key else ""
        except SecretUnreadable:
            key = ""  # nobody can tell it either
        keys = (each.strip() for each in key.split(","))
        self.known.hold(holder(row.id), (*keys, *of_headers(settings_of(row).headers)))

    def client(self, row: ProviderRow, db: Callable[..., Awaitable[Any]]) -> Provider:
        """Raises ProviderError for a row that cannot be asked: off, or with a key that does not open."""
        if not row.enabled:
            raise ProviderError("model_not_found", f"{row.name} is turned off")
        if row.provider_type in PROGRAMS:
            vendor, program = replace(BY_NAME[row.provider_type], name=row.name), program_of(row)
            return open_provider(vendor, timeout=program.timeout_sec, program=program, data_dir=self.data_dir)
        try:
            key = self.box.unseal(row.api_key, Place(KEY_COLUMN, row.id)) if row.api_key else ""
        except SecretUnreadable:
            raise ProviderError("auth_permanent", f"{row.name}: its key cannot be opened: write it again") from None
        said = configured(row, key)
        guard = guard_of(row, self.allow_private) if row.api_base else None
        account = (
            Account(row.id, self.box, self.authority, db, self.known) if row.provider_type == CHATGPT.name else None
        )
        sign = account.headers if account is not None else None
        keys = tuple(each for each in key.split(",") if each.strip())
        return open_provider(
            vendor_of(row.name, said),
            keys=keys,
            timeout=said.timeout_sec,
            at_once=said.max_concurrency,
            name=row.name,
            guard=guard,
            sign=sign,
        )


def holder(provider_id: str) -> str:
    """Who holds the secrets of a row."""
    return f"provider {provider_id}"


class CloseFormer(Message[None]):
    """Nobody begins a call any more with the client that was replaced first."""


class Added(ProviderActor):
    def __init__(self, tenant: str, name: str, opening: Opening) -> None:
        super().__init__(
            name,
            lambda: opening.client(self.row, self.database.run),
            threshold=opening.failover.threshold,
            open_for=opening.failover.cooldown_sec,
            tenant=tenant,
        )
        self.opening = opening
        self.row: ProviderRow
        self.database: Any
        self.former: deque[Provider] = deque()

    async def on_start(self, ctx: Context) -> None:
        self.database = ctx.system.database
        try:
            await self._read(ctx)
        except StoreError as outage:
            raise Rejected(unavailable("store", 2.0)) from outage
        await super().on_start(ctx)

    @handles
    async def changed(self, ctx: Context, news: Changed) -> None:
        await self._read(ctx)
        if self._provider is not None:
            self.former.append(self._provider)
            ctx.after(GRACE, CloseFormer())
        self._provider = None
        self._rows = []  # another key or address is another chance
        await ctx.db(cooldowns.clear, tenant=self.tenant, provider=self.name)

    @handles
    async def close_former(self, ctx: Context, news: CloseFormer) -> None:
        await self.former.popleft().aclose()

    async def on_stop(self, ctx: Context, reason: str) -> None:
        for client in self.former:
            await client.aclose()
        await super().on_stop(ctx, reason)

    async def _read(self, ctx: Context) -> None:
        row = await ctx.db(stored.find, tenant=self.tenant, name=self.name)
        if row is None:
            raise Rejected(not_found("provider", self.name))
        self.row = row
        self.opening.learn(row)
        self.at_once = settings_of(row).max_concurrency


class AddedProgram(Added):
    """One that runs programs, in this actor's own task. It is not changed but replaced."""

    async def live(self, ctx: Context) -> None:
        if not self.row.enabled:
            await trio.sleep_forever()
        client = self._client()
        assert isinstance(client, Runs)
        await client.live()
