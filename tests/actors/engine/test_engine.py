"""Where an agent works for a user. Contract: tools.md §9.1, edge-auth.md §6."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goclaw.actors.engine.engine import Engine, file_name
from goclaw.domain.access import SYSTEM_USER
from goclaw.domain.agent import AgentProfile
from goclaw.settings.agents import AgentDefaults
from goclaw.settings.queue import Queue


@pytest.mark.parametrize(
    ("id", "name"),
    [
        ("lan", "lan-"),
        ("a.b", "a_b-"),
        ("a_b", "a_b-"),
        ("group:telegram:-1001234", "group_telegram_-1001234-"),
        ("../../etc", "______etc-"),
        ("", "-"),
        ("x" * 300, "x" * 200 + "-"),
    ],
)
def test_a_name_shows_the_id_and_ends_in_its_hash(id: str, name: str) -> None:
    assert re.fullmatch(re.escape(name) + "[0-9a-f]{8}", file_name(id))


@given(st.lists(st.text(), unique=True, min_size=2, max_size=20))
def test_no_two_users_share_a_name_and_none_leaves_the_directory(ids: list[str]) -> None:
    names = [file_name(id) for id in ids]
    assert len(set(names)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{9,209}", name) for name in names)


def test_each_user_has_a_private_directory_and_the_system_the_one_above(tmp_path: Path) -> None:
    engine = Engine("n", {}, AgentDefaults(workspace=tmp_path), Queue())
    agent = AgentProfile(
        id="1",
        key="scout",
        name="Scout",
        owner_id="system",
        provider="offline",
        model="offline-1",
        agent_type="open",
        status="active",
        is_default=True,
        workspace="scout",
        restrict_to_workspace=True,
        max_tool_iterations=20,
        context_window=200_000,
    )
    lan = engine.workspace(agent, "../lan").root

    assert lan == tmp_path / "scout" / f"user_{file_name('../lan')}"
    assert lan.stat().st_mode & 0o777 == 0o700
    assert engine.workspace(agent, "../lan").root == lan
    assert engine.workspace(agent, SYSTEM_USER).root == tmp_path / "scout"
