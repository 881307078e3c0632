"""Which safety groups hold for the commands of a run. Contract: security.md §3.4, SEC-10."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from goclaw.actors.engine.engine import Engine
from goclaw.actors.engine.guards import Guards
from goclaw.domain.run import RunRequest
from goclaw.security.shell import GROUPS
from goclaw.settings.agents import AgentDefaults
from goclaw.settings.deny_groups import ShellDenyGroups
from goclaw.settings.queue import Queue
from goclaw.settings.tools import Tools
from tests.actors.engine.test_journal import RUN
from tests.profiles import scout


def test_sec10_the_settings_and_the_agent_say_what_is_off(tmp_path: Path) -> None:
    """SEC-10. What is off for all, less what this agent has on, with what it has off."""
    tools = Tools(shell_deny_groups=ShellDenyGroups(env_dump=False, persistence=False))
    defaults = AgentDefaults(workspace=tmp_path)
    engine = Engine("node", {}, defaults, Queue(), guards=Guards(settings=tools))
    agent = scout(deny_groups=(("network_recon", False), ("persistence", True)))

    run = msgspec.structs.replace(RUN, stored=msgspec.json.encode(RunRequest(message="hi")))
    reach = engine.reach(run, agent, lambda: datetime.now(UTC))

    assert reach.deny_groups_off == {"env_dump", "network_recon"}


def test_the_settings_name_every_group_and_no_other() -> None:
    assert sorted(field.name for field in msgspec.structs.fields(ShellDenyGroups)) == sorted(GROUPS)
    assert all(ShellDenyGroups().named.values())
