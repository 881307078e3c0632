"""Where an agent works for a user. Contract: tools.md §9.1, edge-auth.md §6."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from goclaw.actors.engine.engine import Engine, roots
from goclaw.domain.access import SYSTEM_USER
from goclaw.domain.workspace import Sharing, file_name, place_of
from goclaw.security.paths import PathRefused
from goclaw.security.policy import AllowedPath
from goclaw.settings.agents import AgentDefaults
from goclaw.settings.queue import Queue
from tests.profiles import scout

AGENT = scout()


def test_each_user_has_a_private_directory_and_the_system_the_one_above(tmp_path: Path) -> None:
    engine = Engine("n", {}, AgentDefaults(workspace=tmp_path), Queue())
    lan = engine.workspace(AGENT, "../lan").root

    assert lan == tmp_path / "scout" / f"user_{file_name('../lan')}"
    assert lan.stat().st_mode & 0o777 == 0o700
    assert engine.workspace(AGENT, "../lan").root == lan
    assert engine.workspace(AGENT, SYSTEM_USER).root == tmp_path / "scout"
    assert engine.workspace(AGENT, "lan", "telegram:-1").root == place_of(tmp_path, "scout", "", group="telegram:-1")
    shared = msgspec.structs.replace(AGENT, sharing=Sharing(shared_dm=True))
    assert engine.workspace(shared, "lan").root == tmp_path / "scout"


def test_the_gateways_own_data_is_denied_wherever_an_agent_works(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/key").write_text("secret")
    engine = Engine("n", {}, AgentDefaults(workspace=tmp_path), Queue(), denied=(tmp_path / "data",))
    all_of_it = msgspec.structs.replace(AGENT, workspace=".")
    with pytest.raises(PathRefused), engine.workspace(all_of_it, SYSTEM_USER).open("data/key"):
        pass


def test_what_the_policy_adds_is_reached_as_it_says(tmp_path: Path) -> None:
    for name in ("docs", "ref"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.md").write_text(name)
    engine = Engine("n", {}, AgentDefaults(workspace=tmp_path / "ws"), Queue())
    more = (AllowedPath(path=str(tmp_path / "docs")), AllowedPath(path=str(tmp_path / "ref"), mode="ro"))
    workspace = engine.workspace(AGENT, "lan").beside(lambda: roots(more))

    with workspace.open(str(tmp_path / "ref/a.md")) as file:
        assert os.read(file, 10) == b"ref"
    workspace.write(str(tmp_path / "docs/b.md"), b"new")
    with pytest.raises(PathRefused):
        workspace.write(str(tmp_path / "ref/b.md"), b"new")
    with pytest.raises(PathRefused), engine.workspace(AGENT, "lan").open(str(tmp_path / "ref/a.md")):
        pass
