"""How a run's tools reach its subagents: what they want is stored here, and `/orch/subagents` told of it."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec
import trio

from goclaw.domain.address import HOOKS, SUBAGENTS, lane, provider
from goclaw.domain.errors import StoreError
from goclaw.domain.hook import CHAIN, Happening, MayHappen
from goclaw.domain.ids import new_id
from goclaw.domain.run import LendSlot, ReclaimSlot
from goclaw.domain.subagent import AwaitEnd, Began, Refused, Spawned, Steering, Stopped, Subagent, Wish
from goclaw.runtime.faults import RuntimeFault
from goclaw.runtime.system import System
from goclaw.settings.orchestration import Orchestration
from goclaw.settings.orchestration import Subagents as Limits
from goclaw.stores import agents, subagent_ends, subagent_places, subagent_steering, subagent_views
from goclaw.stores import subagents as rows
from goclaw.tools.methods import Asker
from goclaw.tools.tool import ToolFailed

P = ParamSpec("P")
T = TypeVar("T")

AGAIN = 1.0  # seconds between two asks for what an actor that died cannot answer
PATIENCE = 60.0  # seconds of one ask for a slot
MOST = 1.0  # seconds beyond what somebody wants to wait


class Children:
    """Implements `tools.subagents.Subagents`."""

    def __init__(self, system: System, limits: Limits, rules: Orchestration, *, hooked: bool = False) -> None:
        """`hooked`: hooks are asked before one is born."""
        self._system = system
        self._limits = limits
        self._rules = rules
        self._hooked = hooked

    async def spawn(
        self,
        asker: Asker,
        run_id: str,
        key: str,
        *,
        task: str,
        label: str,
        role: str,
        model: str,
        detached: bool,
        announces: bool,
        depth: int = 0,
    ) -> Spawned:
        vendor, name = self._model(asker, model)
        wish = Wish(
            id=str(uuid.uuid5(uuid.NAMESPACE_OID, f"{asker.tenant_id}:spawn:{key}")),
            run_id=new_id(),
            tenant_id=asker.tenant_id,
            parent_run_id=run_id,
            task=task,
            label=label,
            role=role,
            provider=vendor,
            model=name,
            detached=detached,
            announces=announces,
        )
        if self._hooked and not await self.known(asker, ids=(wish.id,)):
            await self._allowed(asker, wish, depth)
        born = await self._do(rows.spawn, wish=wish, defaults=self._limits, rules=self._rules)
        if born.fresh:
            self._began(asker, run_id, born)
        return born

    async def known(
        self, asker: Asker, *, ids: Sequence[str] | None = None, recent: int | None = None, most: int = 0
    ) -> list[Subagent]:
        return await self._do(
            subagent_views.listed,
            tenant=asker.tenant_id,
            key=asker.session_key,
            archive=(await self._of(asker)).archive_after_minutes,
            recent=recent,
            ids=ids,
            most=most,
        )

    async def limit(self, asker: Asker) -> int:
        return (await self._of(asker)).max_children_per_agent

    async def stop(self, asker: Asker, ids: Sequence[str]) -> None:
        doomed = await self._do(subagent_ends.stop, tenant=asker.tenant_id, ids=ids, by=asker.user_id)
        runs = tuple((one.run_id, one.session_key) for one in doomed)
        self._system.tell(SUBAGENTS, Stopped(tenant_id=asker.tenant_id, user_id=asker.user_id, runs=runs))

    async def steer(self, asker: Asker, id: str, key: str, message: str) -> Steering:
        done = await self._do(
            subagent_steering.steer, tenant=asker.tenant_id, id=id, key=key, run_id=new_id(), message=message
        )
        if done.old_run:
            runs = ((done.old_run, done.task.session_key),)
            self._system.tell(SUBAGENTS, Stopped(tenant_id=asker.tenant_id, user_id=asker.user_id, runs=runs))
            self._began(asker, "", done.task, steered=True)
        return Steering(id=id, generation=done.generation)

    async def wait(self, asker: Asker, run_id: str, ids: Sequence[str], within: float) -> None:
        tenant = asker.tenant_id
        if not await self._do(subagent_views.at_work, tenant=tenant, ids=ids):
            return await self._do(subagent_views.consume, tenant=tenant, ids=ids)
        where = await self._do(subagent_views.lane_of, tenant=tenant, run_id=run_id)
        await self._do(subagent_places.waits, tenant=tenant, run_id=run_id, waiting=True)
        if where is not None:
            self._system.tell(lane(where), LendSlot(run_id=run_id))
        await self._until(tenant, tuple(ids), within)
        if where is not None:
            await self._reclaim(where, run_id)
        await self._do(subagent_places.waits, tenant=tenant, run_id=run_id, waiting=False)
        await self._do(subagent_views.consume, tenant=tenant, ids=ids)

    async def announce(self, asker: Asker, id: str) -> None:
        await self._do(subagent_ends.announce, tenant=asker.tenant_id, id=id)

    async def log(self, asker: Asker, run_id: str) -> list[str]:
        return await self._do(subagent_views.log, tenant=asker.tenant_id, run_id=run_id)

    # --- parts --------------------------------------------------------------------------------

    async def _allowed(self, asker: Asker, wish: Wish, depth: int) -> None:
        """Asks hooks of `subagent_start`. Raises ToolFailed `denied_policy`, also if nobody answers for them."""
        wanted = {"task": wish.task, "label": wish.label, "role": wish.role, "model": wish.model}
        about = Happening(
            event="subagent_start",
            tenant_id=asker.tenant_id,
            run_id=wish.parent_run_id,
            session_key=asker.session_key,
            agent_id=asker.agent_id,
            user_id=asker.user_id,
            depth=depth,
            tool_name="spawn",
            tool_input=msgspec.Raw(msgspec.json.encode(wanted)),
            prompt=wish.task,
        )
        try:
            blocked = await self._system.ask(HOOKS, MayHappen(about=about), CHAIN * 2)
        except RuntimeFault:
            blocked = "nobody answers for the hooks; try later"
        if blocked:
            raise ToolFailed("denied_policy", f"hook_blocked: {blocked}")

    async def _until(self, tenant: str, ids: tuple[str, ...], within: float) -> None:
        """The actor that is asked may die meanwhile; its next incarnation is asked for the rest of the time."""
        ends = trio.current_time() + within
        while (left := ends - trio.current_time()) > 0:
            try:
                await self._system.ask(SUBAGENTS, AwaitEnd(tenant_id=tenant, ids=ids, within=left), left + MOST)
            except RuntimeFault:
                await trio.sleep(min(AGAIN, left))
            else:
                return

    async def _reclaim(self, where: str, run_id: str) -> None:
        """Until it has a slot again: a lane that begins anew knows of no debt, and says yes."""
        while True:
            try:
                await self._system.ask(lane(where), ReclaimSlot(run_id=run_id), PATIENCE)
            except RuntimeFault:
                await trio.sleep(AGAIN)
            else:
                return

    def _began(self, asker: Asker, parent: str, born: Spawned, *, steered: bool = False) -> None:
        news = Began(
            tenant_id=asker.tenant_id,
            run_id=born.run_id,
            parent_run_id=parent,
            session_key=born.session_key,
            agent_key=born.agent_key,
            user_id=born.user_id,
            held=born.held,
            id=born.id,
            label=born.label,
            steered=steered,
        )
        self._system.tell(SUBAGENTS, news)

    def _model(self, asker: Asker, model: str) -> tuple[str, str]:
        """`provider/model` if there is such a provider; names of models may have slashes too."""
        first, slash, rest = model.partition("/")
        places = (provider(first, asker.tenant_id), provider(first)) if slash and rest else ()
        known = any(self._system.find(place) is not None for place in places)
        return (first, rest) if known else ("", model)

    async def _of(self, asker: Asker) -> Limits:
        agent = await self._do(agents.find, tenant=asker.tenant_id, name=asker.agent_id)
        return self._limits.of_agent(agent.subagents_config if agent is not None else None)

    async def _do(self, work: Callable[Concatenate[Any, P], Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            done: T = await self._system.database.run(work, *args, **kwargs)
        except Refused as refusal:
            raise ToolFailed(refusal.code, str(refusal)) from None
        except StoreError:
            raise ToolFailed("unavailable", "subagents cannot be reached now; try later") from None
        return done
