"""Agents: who answers, with which model and where it works."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Raw, Struct
from msgspec.structs import replace

from goclaw.domain.access import Caller
from goclaw.domain.loop import Loop
from goclaw.domain.model import Candidate
from goclaw.domain.queue_policy import NOTHING, Override
from goclaw.domain.workspace import ALONE, Sharing
from goclaw.runtime.message import Message

AgentType = Literal["open", "predefined"]
AgentStatus = Literal["active", "inactive", "summoning", "summon_failed"]
SharedRole = Literal["user", "viewer", "operator", "admin"]
AgentRole = Literal["owner", "admin", "operator", "viewer", "user"]

DEFAULT_KEY = "default"  # the starter agent; the web UI asks for it by this name (wire-compat.md C2)
AGENTS = "agents"  # group: whoever keeps something of agents, told by `AgentChanged`
MANAGERS: frozenset[AgentRole | None] = frozenset({"owner", "admin"})  # may change who uses an agent and how
EDITORS = MANAGERS | {"operator"}  # may change what it is


class AgentProfile(Struct, frozen=True, kw_only=True):
    """What the engine needs to know of an agent. `provider` and `model` are resolved, never empty."""

    id: str
    key: str
    name: str
    owner_id: str
    provider: str
    model: str
    agent_type: str
    status: str
    is_default: bool
    workspace: str  # relative to the gateway's workspace directory, or absolute
    restrict_to_workspace: bool
    max_tool_iterations: int
    context_window: int
    max_tokens: int | None = None  # of one answer; None: as all agents
    temperature: float | None = None
    effort: str = "off"  # how hard it thinks (providers.md §10.1)
    exact_effort: bool = False
    description: str = ""
    self_evolve: bool = False  # it may change its own SOUL.md and CAPABILITIES.md
    language: str = ""  # in which it answers this user; empty: whichever he writes
    sharing: Sharing = ALONE  # of its workspace
    queue: Override = NOTHING  # how turns wait for it (sessions-lanes-cron.md §3.1)
    tools: Raw = Raw(b"{}")  # which it has: `Rules` (tools.md §4)
    tool_settings: Raw = Raw(b"{}")  # how they are set for it, by name (tools.md §3.3)
    compaction: Raw = Raw(b"{}")  # what is its own of `agents.defaults.compaction` …
    pruning: Raw = Raw(b"{}")  # … and of `agents.defaults.context_pruning`
    deny_groups: tuple[tuple[str, bool], ...] = ()  # of the shell guard that are its own (security.md §3.4)
    prompt_mode: str = "full"  # how much it is told at most (agent-loop.md §6.1)
    loop: Loop | None = None  # it goes on by itself (agent-loop.md §15.1)
    answer_form: Raw = Raw(b"null")  # what its answers must fit (§16): `AnswerForm`
    fallbacks: tuple[Candidate, ...] = ()  # who is asked when the model cannot answer, in order
    turns: tuple[str, ...] = ()  # accounts of its provider's pool that are asked first, a run each (providers.md §7.3)

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Who may answer, in order of preference (providers.md §9.2)."""
        accounts = self.turns or (self.provider,)
        return tuple(dict.fromkeys((*(Candidate(name, self.model) for name in accounts), *self.fallbacks)))

    def in_turn(self, number: int) -> AgentProfile:
        """As the run of that number sees it."""
        at = number % len(self.turns) if self.turns else 0
        return replace(self, turns=(*self.turns[at:], *self.turns[:at])) if at else self

    def answering_with(self, provider: str, model: str) -> AgentProfile:
        """The same agent with another model, if there is one; of its own provider unless one is named."""
        return replace(self, provider=provider or self.provider, model=model, turns=()) if model else self

    def visible_to(self, caller: Caller) -> bool:
        """Admins see all, everybody the default agent, his own and the one that asks for him (edge-auth.md §5.3)."""
        return caller.is_admin or self.is_default or self.owner_id == caller.user_id or self.id == caller.agent_id


class UserOverride(Struct, frozen=True, kw_only=True):
    """What is different when an agent answers this user (agent-loop.md §19.5). Empty: as for everybody."""

    user_id: str
    provider: str = ""
    model: str = ""
    temperature: float | None = None
    max_tokens: int | None = None
    thinking_level: str = ""
    language: str = ""

    def on(self, profile: AgentProfile) -> AgentProfile:
        """All of it but provider and model, which decide about more than themselves."""
        changes: dict[str, Any] = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        changes |= {"effort": self.thinking_level or None, "language": self.language or None}
        return replace(profile, **{name: value for name, value in changes.items() if value is not None})


class GetProfile(Message[AgentProfile]):
    """Who lives at this address, as he is for a user. Refused with `not_found` when there is no such agent."""

    user_id: str = ""


class TurnEnded(Message[None]):
    """A user who is still a stranger to the agent (BOOTSTRAP.md) has had a turn answered."""

    user_id: str


class AgentChanged(Message[None]):
    """Rows of a tenant's agents were written. Published to `AGENTS`."""

    tenant_id: str
