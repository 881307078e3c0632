"""One label: has a conversation named by a model after its first exchange. Whatever fails, its first words stay.

Address   /sessions/{tenant}/{session key}/label-{id}
Contract  agent-loop.md R3.4
"""

from __future__ import annotations

from goclaw.actors.engine.aside import aside
from goclaw.actors.engine.spending import Spending
from goclaw.agent.label import WITHIN, label, label_of
from goclaw.domain.address import agent
from goclaw.domain.agent import GetProfile
from goclaw.domain.budget import Payer
from goclaw.domain.errors import ProviderError, Rejected, StoreError
from goclaw.runtime.actor import Actor, Context
from goclaw.runtime.faults import RuntimeFault
from goclaw.runtime.message import Message
from goclaw.settings.providers import OFFLINE
from goclaw.stores import session_upkeep


class Named(Message[None]):
    """To the session: it is called this now."""

    label: str


class Labelling(Actor):
    def __init__(
        self, tenant: str, key: str, agent_key: str, user_id: str, payers: tuple[Payer, ...], spending: Spending
    ) -> None:
        self.tenant = tenant
        self.key = key
        self.agent_key = agent_key
        self.user_id = user_id
        self.payers = payers
        self.spending = spending

    async def live(self, ctx: Context) -> None:
        try:
            await self._name(ctx)
        except (ProviderError, Rejected, StoreError, RuntimeFault) as trouble:
            ctx.log.info("session.not_named", session=self.key, error=str(trouble))

    async def _name(self, ctx: Context) -> None:
        assert ctx.parent is not None
        profile = await ctx.ask(agent(self.tenant, self.agent_key), GetProfile(user_id=self.user_id), within=10)
        if profile.provider == OFFLINE:
            return
        opening = await ctx.db(session_upkeep.opening, tenant=self.tenant, key=self.key)
        if opening is None or opening.label not in ("", label_of(opening.asked)):
            return
        async with aside(ctx, self.spending, profile, tenant=self.tenant, payers=self.payers, within=WITHIN) as model:
            name = await label(model, profile.model, opening.asked, opening.answered, session=self.key)
        if not name:
            return
        if await ctx.db(session_upkeep.name, tenant=self.tenant, key=self.key, was=opening.label, label=name):
            ctx.tell(ctx.parent, Named(label=name))
