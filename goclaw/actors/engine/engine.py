"""What a run needs besides its row: tools, defaults, places. Fixed for the life of the process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from msgspec import Raw

from goclaw.actors.engine.guards import Guards
from goclaw.actors.engine.hooks import HookWorks
from goclaw.actors.engine.journal import KnownBlobs
from goclaw.actors.engine.kit import Kit, Maker, kit_of
from goclaw.actors.engine.spending import Spending
from goclaw.actors.engine.tool_calls import Durations
from goclaw.domain.agent import AgentProfile
from goclaw.domain.cluster import Ownership
from goclaw.domain.delivery import Courier, Line
from goclaw.domain.media import UNLINKED, Linked
from goclaw.domain.retry import Rules
from goclaw.domain.session import parse_key
from goclaw.domain.workspace import group_of, place_of
from goclaw.runtime.actor import Context
from goclaw.security.box import Box
from goclaw.security.paths import Workspace
from goclaw.security.policy import AllowedPath
from goclaw.security.shell import groups_off
from goclaw.security.walk import Root
from goclaw.settings.agents import AgentDefaults
from goclaw.settings.locks import Locks
from goclaw.settings.queue import Queue
from goclaw.settings.record import Record
from goclaw.stores.runs import Claimed
from goclaw.tools.methods import Asker
from goclaw.tools.tool import Tool, ToolContext

NO_SETTINGS: Mapping[str, Raw] = {}


@dataclass(frozen=True)
class Engine:
    node_id: str
    tools: Mapping[str, Tool]
    defaults: AgentDefaults
    queue: Queue
    record: Record = field(default_factory=Record)
    blobs: KnownBlobs = field(default_factory=KnownBlobs)
    ownership: Ownership = field(default_factory=Ownership)
    spending: Spending = field(default_factory=Spending)
    locks: Locks = field(default_factory=Locks)
    sizes: dict[str, int] = field(default_factory=dict)  # of lanes, changed since the start; each writes its own
    node_name: str = "alone"  # of this gateway, the same after a restart
    box: Box = field(default_factory=Box)  # for records of level `full`
    guards: Guards = field(default_factory=Guards)
    durations: Durations = field(default_factory=Durations)  # of calls of tools
    hooks: HookWorks | None = None  # None: a house of tests, where nobody has any
    maker: Maker | None = None  # of tools from rows; None: nobody has any
    block_reply: bool = False
    couriers: Mapping[Line, Courier] = field(default_factory=dict)  # of the channel instances there are
    links: Linked = UNLINKED  # to the files of answers
    denied: tuple[Path, ...] = ()  # directories no tool reaches, whatever its workspace (tools.md §9.3)

    @property
    def rules(self) -> Rules:
        """When a failed run is tried again."""
        queue = self.queue
        return Rules(
            base=queue.retry_base_ms / 1000,
            cap=queue.retry_cap_ms / 1000,
            poison=queue.poison_threshold,
            interactive=queue.interactive_retry_sec,
        )

    async def kit(self, ctx: Context, run: Claimed, agent: AgentProfile) -> Kit:
        """The tools a run could have, and how they are set."""
        to = run.request.reply_to
        channel = self.couriers.get((run.tenant_id, to.channel_instance)) if to is not None else None
        return await kit_of(ctx, self.tools, self.maker, run.tenant_id, agent, channel)

    def reach(
        self, run: Claimed, agent: AgentProfile, now: Callable[[], datetime], settings: Mapping[str, Raw] = NO_SETTINGS
    ) -> ToolContext:
        """Everything the tools of a run may touch. Raises OSError where its workspace cannot be made."""
        to = run.request.reply_to
        pinned = self.guards.policy.pin(run.tenant_id, run.policy_version)
        asker = Asker(
            tenant_id=run.tenant_id,
            user_id=run.user_id,
            agent_id=agent.id,
            agent_key=agent.key,
            session_key=run.session_key,
            channel=to.channel_instance if to is not None else "",
            chat_id=to.chat_id if to is not None else "",
        )
        return ToolContext(
            self.workspace(agent, run.user_id, group_of(parse_key(run.session_key))).beside(
                lambda: roots(pinned.paths)
            ),
            now,
            self.defaults.timezone,
            asker,
            run_id=run.run_id,
            run_kind=run.kind,
            sender_id=run.request.sender or run.user_id,
            peer_kind="group" if parse_key(run.session_key).group else "direct",
            provider=agent.provider,
            model=agent.model,
            depth=run.request.child_of.depth if run.request.child_of is not None else 0,
            most=self.guards.settings.max_result_chars,
            at_once=self.defaults.tool_max_parallel_calls,
            deny_groups_off=groups_off(self.guards.settings.shell_deny_groups.named, dict(agent.deny_groups)),
            settings=settings,
        )

    def workspace(self, agent: AgentProfile, user_id: str, group: str = "") -> Workspace:
        """The directory of an agent for one user, or for a group; made on first use."""
        place = place_of(self.defaults.workspace, agent.workspace, user_id, agent.sharing, group=group)
        return _made(place, self.denied)


@lru_cache(maxsize=4096)
def _made(place: Path, denied: tuple[Path, ...]) -> Workspace:
    """A few system calls on first use, none later. Raises OSError."""
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Workspace(place.resolve(), barred=denied)


@lru_cache(maxsize=256)
def roots(paths: tuple[AllowedPath, ...]) -> tuple[Root, ...]:
    """What the policy lets be reached besides the workspace."""
    return tuple(Root(Path(one.path).resolve(), one.mode == "rw") for one in paths)
