"""Whose word counts for a model call: the request's, the agent's, everybody's. Contract: providers.md §10.1."""

from __future__ import annotations

import pytest

from goclaw.actors.engine.prepare import options_of
from goclaw.domain.agent import AgentProfile
from goclaw.domain.chat import ChatOptions
from goclaw.domain.run import RunRequest
from goclaw.settings.agents import AgentDefaults
from tests.profiles import scout

DEFAULTS = AgentDefaults()


@pytest.mark.parametrize(
    ("profile", "asked", "options"),
    [
        (scout(), None, ChatOptions(max_tokens=8192, temperature=0.7)),
        (scout(max_tokens=9, temperature=0.0), None, ChatOptions(max_tokens=9, temperature=0.0)),
        (
            scout(effort="high"),
            None,
            ChatOptions(max_tokens=8192, temperature=0.7, reasoning_effort="high"),
        ),
        (
            scout(effort="high", exact_effort=True),
            ChatOptions(max_tokens=5),
            ChatOptions(max_tokens=5, temperature=0.7, reasoning_effort="high", reasoning_exact=True),
        ),
        (
            scout(effort="high"),
            ChatOptions(reasoning_effort="low", top_p=0.5),
            ChatOptions(reasoning_effort="low", top_p=0.5, max_tokens=8192),
        ),
    ],
)
def test_the_nearest_word_counts(profile: AgentProfile, asked: ChatOptions | None, options: ChatOptions):
    assert options_of(profile, DEFAULTS, RunRequest(message="x", options=asked)) == options
