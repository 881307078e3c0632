"""What a model is told before the conversation. Contract: agent-loop.md §6; AL-29."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from goclaw.agent.prompt import (
    ACT,
    ANCHOR,
    BOOTSTRAP_NOTICE,
    EVOLVE,
    GROUP,
    RECALL,
    SAFETY,
    SAFETY_SLIM,
    SILENCE,
    SPAWN,
    STYLE,
    Facts,
    mode_of,
    system_prompt,
)
from goclaw.domain.agent import AgentProfile
from goclaw.domain.chat import ToolSpec
from goclaw.domain.tokens import estimate
from goclaw.knowledge.context_files import ContextFile, Mode
from goclaw.providers.prompt_cache import CACHE_BOUNDARY

PLAIN = {field.name: 0 if field.type is int else "" for field in msgspec.structs.fields(AgentProfile) if field.required}
NOW = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
ZONES = {"SOUL.md": "persona", "IDENTITY.md": "persona", "AGENTS.md": "stable", "TOOLS.md": "stable"}


def spec(name: str) -> ToolSpec:
    return ToolSpec(name=name, description="", parameters={})


def scout(**more: Any) -> AgentProfile:
    return AgentProfile(**{**PLAIN, "name": "Scout", "key": "scout", "model": "gpt-5", "provider": "openai", **more})


def file(name: str, text: str = "") -> ContextFile:
    zone: Any = ZONES.get(name, "dynamic")
    return ContextFile(name=name, text=text or f"text of {name}", scope="user", zone=zone)


def facts(agent: AgentProfile | None = None, **more: Any) -> Facts:
    return Facts(agent=agent or scout(), now=NOW, **more)


FILES = tuple(file(name) for name in ("AGENTS.md", "SOUL.md", "IDENTITY.md", "TOOLS.md", "USER.md", "BOOTSTRAP.md"))


def stable_part(prompt: str) -> str:
    """What is the same for every run of an agent with the same tools."""
    return prompt.partition(CACHE_BOUNDARY)[0]


def test_sections_come_in_the_order_of_the_contract() -> None:
    agent = scout(agent_type="predefined", self_evolve=True, language="French")
    tools = tuple(spec(name) for name in ("read_file", "exec", "memory_search", "spawn"))
    prompt = system_prompt(
        facts(
            agent, tools=tools, files=FILES, user="lan", role="operator", group=True, channel="zalo", extra="In verse."
        )
    )
    parts = [
        "You are Scout",
        BOOTSTRAP_NOTICE,
        "text of SOUL.md",
        "Your tools: exec, memory_search, read_file, spawn.",
        STYLE,
        ACT,
        SAFETY,
        ANCHOR,
        EVOLVE,
        "Files are relative",
        "You talk with lan, whose role here is operator.",
        "text of AGENTS.md",
        CACHE_BOUNDARY,
        "Sunday, 2026-03-01 23:30 (UTC)",
        "plain text",
        GROUP,
        "Answer in French.",
        "<extra_context>\nIn verse.",
        "text of USER.md",
        SILENCE,
        RECALL,
        SPAWN,
        "Runtime: agent scout, model gpt-5 of openai, channel zalo, session chat.",
        "Stay Scout.",
    ]
    places = [prompt.index(part) for part in parts]
    assert places == sorted(places)
    assert "\n\n\n" not in prompt


def test_what_stays_the_same_is_the_same_an_hour_later() -> None:
    tools, files = (spec("a"), spec("b")), FILES
    now = system_prompt(facts(tools=tools, files=files, extra="x"))
    later = system_prompt(
        Facts(agent=scout(), now=NOW + timedelta(hours=1), tools=tools[::-1], files=files, turn=9, channel="ws")
    )
    assert stable_part(now) == stable_part(later)
    assert now != later


@pytest.mark.parametrize(
    ("mode", "there", "not_there"),
    [
        ("task", ("text of SOUL.md", SAFETY_SLIM, "text of AGENTS.md", "text of USER.md", "Runtime"), (STYLE, SAFETY)),
        ("minimal", ("Your tools", SAFETY_SLIM, "text of AGENTS.md"), ("SOUL.md", "text of TOOLS.md", "USER.md", ACT)),
        ("none", ("You are Scout",), ("Your tools", "SOUL.md", SAFETY_SLIM, "Runtime", CACHE_BOUNDARY)),
    ],
)
def test_a_lesser_mode_says_less(mode: Mode, there: tuple[str, ...], not_there: tuple[str, ...]) -> None:
    prompt = system_prompt(facts(mode=mode, tools=(spec("read_file"),), files=FILES))
    assert [part for part in there if part not in prompt] == []
    assert [part for part in not_there if part in prompt] == []


def test_the_mode_is_the_least_of_kind_and_agent_unless_somebody_asks() -> None:
    assert mode_of("chat") == "full"
    assert mode_of("heartbeat", "full") == "minimal"
    assert mode_of("cron", "minimal") == "minimal"
    assert mode_of("cron", "full") == "task"
    assert mode_of("cron", "full", "full") == "full"


def test_without_tools_nothing_is_said_of_tools_or_files() -> None:
    prompt = system_prompt(facts())
    assert "tools:" not in prompt
    assert "workspace" not in prompt


def test_the_persona_of_a_predefined_agent_is_internal() -> None:
    prompt = system_prompt(facts(scout(agent_type="predefined"), files=FILES))
    inside = prompt.partition("<internal_config>")[2].partition("</internal_config>")[0]
    assert "text of SOUL.md" in inside
    assert "text of AGENTS.md" not in inside


def test_other_names_of_tools_are_one_sorted_line() -> None:
    assert "\nOther names for them: Bash = exec, bash = exec.\n" in system_prompt(facts(tools=(spec("exec"),)))


def test_a_prompt_too_long_leaves_out_what_matters_least() -> None:
    files = tuple(file(name, "word " * 2000) for name in ("AGENTS.md", "SOUL.md", "TOOLS.md", "USER.md", "MEMORY.md"))
    prompt = system_prompt(facts(files=files, tools=(spec("exec"),), extra="more " * 4000), budget=8000)
    assert estimate(prompt) <= 8000
    assert "[cut: the prompt was too long]" in prompt
    out = [name for name in ("MEMORY.md", "USER.md", "TOOLS.md") if f"[{name} left out" in prompt]
    assert out == ["MEMORY.md", "USER.md"]
    assert SAFETY in prompt
    assert "Your tools: exec." in prompt


def test_subagents_at_work_are_named_below_the_boundary() -> None:
    """orchestration.md §3.3: what was said of them may be summarised away."""
    told = system_prompt(facts(tools=(spec("spawn"),), children=("- dig (1a2b3c4d, running): find it",)))
    stable, _, dynamic = told.partition(CACHE_BOUNDARY)
    assert "- dig (1a2b3c4d, running): find it" in dynamic
    assert "dig" not in stable
    assert "at work" not in system_prompt(facts(tools=(spec("spawn"),)))
