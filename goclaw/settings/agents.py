"""How agents think unless their own record says otherwise. Contract: config-cli.md §4.3, agent-loop.md §4."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from goclaw.settings.compaction import Compaction, ContextCompaction
from goclaw.settings.orchestration import Subagents
from goclaw.settings.pruning import Pruning
from goclaw.settings.section import Section


class Heartbeat(Section, frozen=True):
    """What the heartbeat of an agent begins with. Contract: sessions-lanes-cron.md §6.1."""

    enabled: Annotated[bool, Meta(description="of a heartbeat that is set without saying so")] = False
    every_sec: Annotated[float, Meta(ge=300, le=31_536_000)] = 1800.0
    ack_max_chars: Annotated[int, Meta(ge=0, le=100_000, description="beside HEARTBEAT_OK, not worth delivering")] = 300
    prompt_template: Annotated[str, Meta(max_length=8000, description="empty = the built-in one")] = ""


class Texts(Section, frozen=True):
    """What is said when a model said nothing. Contract: agent-loop.md §12.2."""

    no_response_fallback: Annotated[str, Meta(min_length=1, max_length=2000)] = "..."
    think_only_fallback: Annotated[str, Meta(min_length=1, max_length=2000, description="it only thought")] = "..."


class AgentDefaults(Section, frozen=True):
    """Defaults of every agent."""

    IGNORED: ClassVar = frozenset({"intent_classify"})  # wire-compat.md C20

    workspace: Annotated[Path, Meta(description="where agents keep their files")] = Path("${GOCLAW_HOME}/workspace")
    provider: Annotated[str, Meta(description="empty = the first with a key, else offline")] = ""
    model: Annotated[str, Meta(description="empty = the provider's default")] = ""
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000, description="per model call")] = 8192
    temperature: Annotated[float, Meta(ge=0, le=2)] = 0.7
    thinking_level: Annotated[
        Literal["off", "auto", "none", "minimal", "low", "medium", "high", "xhigh"],
        Meta(description="how hard models think that can be told"),
    ] = "off"
    max_tool_iterations: Annotated[int, Meta(ge=1, le=200, description="model calls per run")] = 20
    max_tool_calls: Annotated[int, Meta(ge=0, le=1000, description="per run; 0 = unlimited")] = 25
    tool_max_parallel_calls: Annotated[int, Meta(ge=1, le=8, description="calls of one answer at a time")] = 2
    context_window: Annotated[int, Meta(ge=2048, le=10_000_000, description="tokens")] = 200_000
    bootstrap_max_chars: Annotated[int, Meta(ge=100, le=1_000_000, description="of one context file")] = 20_000
    bootstrap_total_max_chars: Annotated[int, Meta(ge=100, le=1_000_000, description="of all context files")] = 24_000
    run_timeout_sec: Annotated[float, Meta(ge=1, le=86_400, description="a chat run, from acceptance")] = 600.0
    llm_timeout_sec: Annotated[float, Meta(ge=5, le=86_400, description="one whole model call")] = 300.0
    timezone: Annotated[str, Meta(max_length=64, description="IANA name; empty = the machine's")] = ""
    system_prompt_budget_tokens: Annotated[int, Meta(ge=1000, le=1_000_000, description="of the whole prompt")] = 24_000
    context_pruning: Pruning = Pruning()
    compaction: Compaction = Compaction()
    context_compaction: ContextCompaction = ContextCompaction()
    subagents: Subagents = Subagents()
    heartbeat: Heartbeat = Heartbeat()
    texts: Texts = Texts()


class Agents(Section, frozen=True):
    """Agents and their defaults."""

    defaults: AgentDefaults = AgentDefaults()
