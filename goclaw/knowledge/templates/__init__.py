"""What context files begin with. One file of text each; `{name}` and `{description}` are the agent's.

Those of a predefined agent that differ are in `predefined/`, the persona of a starter agent in `starters/`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from goclaw.domain.agent import AgentProfile, AgentType
from goclaw.knowledge.context_files import OF_AGENT, SEEDED, USER_PREDEFINED
from goclaw.stores.agents import Starter

HERE = Path(__file__).parent


@cache
def text(name: str, type: str = "open") -> str:
    """Raises FileNotFoundError for a file that has no template."""
    special = HERE / type / name
    return (special if special.is_file() else HERE / name).read_text("utf-8")


def filled(name: str, *, agent: str, description: str = "", type: str = "open") -> str:
    return text(name, type).replace("{name}", agent).replace("{description}", description or "a helpful assistant")


def first_files(agent: AgentProfile) -> dict[str, str]:
    """What a user's own files begin with."""
    return {
        name: filled(name, agent=agent.name, description=agent.description, type=agent.agent_type)
        for name in SEEDED[agent.agent_type]
    }


def of_agent(name: str, description: str) -> dict[str, str]:
    """The files a predefined agent has for everybody when nobody wrote them."""
    type: AgentType = "predefined"
    return {file: filled(file, agent=name, description=description, type=type) for file in (*OF_AGENT, USER_PREDEFINED)}


def starters() -> list[Starter]:
    """Beside the default agent, on a fresh store (agent-loop.md §19.7)."""
    return [
        Starter(key=key, name=name, emoji=emoji, description=said, workspace=key, soul=text(f"starters/{key}.md"))
        for key, name, emoji, said in (
            ("coder", "Coder", "🛠️", "Writes, reads and repairs programs"),
            ("researcher", "Researcher", "🔎", "Finds out, compares and names its sources"),
            ("writer", "Writer", "✍️", "Drafts, shortens and polishes texts"),
        )
    ]
