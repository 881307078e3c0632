"""What a model is told before the conversation. Contract: agent-loop.md §6."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from goclaw.agent.prompt import SAFETY, STYLE, system_prompt
from goclaw.domain.agent import AgentProfile
from goclaw.domain.chat import ToolSpec

FIELDS = {field.name: 0 if field.type is int else "" for field in msgspec.structs.fields(AgentProfile)}
SCOUT = AgentProfile(**{**FIELDS, "name": "Scout"})  # type: ignore[arg-type]  # the prompt reads the name only
NOW = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)


def spec(name: str) -> ToolSpec:
    return ToolSpec(name=name, description="", parameters={})


def test_what_stays_the_same_comes_before_what_changes() -> None:
    prompt = system_prompt(SCOUT, [spec("read_file"), spec("datetime")], NOW, "Answer in verse.")
    places = [
        prompt.index(part)
        for part in (
            "You are Scout",
            "Your tools: datetime, read_file.",
            STYLE,
            SAFETY,
            "Sunday, 2026-03-01 23:30 (UTC)",
        )
    ]
    assert places == sorted(places)
    assert prompt.endswith("Instructions of the caller:\nAnswer in verse.")


def test_the_order_of_tools_does_not_change_a_prompt() -> None:
    one, other = [spec("a"), spec("b")], [spec("b"), spec("a")]
    assert system_prompt(SCOUT, one, NOW, "") == system_prompt(SCOUT, other, NOW, "")


def test_without_tools_nothing_is_said_of_tools_or_files() -> None:
    prompt = system_prompt(SCOUT, [], NOW, "")
    assert "tools:" not in prompt
    assert "workspace" not in prompt
    assert "\n\n\n" not in prompt
