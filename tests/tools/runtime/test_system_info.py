"""What is told of the machine, and what is not. Contract: tools.md §10."""

from __future__ import annotations

import getpass
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from goclaw.domain.chat import ToolCall
from goclaw.security.paths import Workspace
from goclaw.tools.pipeline import call
from goclaw.tools.runtime import system_info as module
from goclaw.tools.tool import ToolContext

KEYS = {"os", "arch", "uptime_s", "load", "cpu_model", "cpu_count", "mem_total", "mem_available", "disk_total"}
KEYS |= {"disk_free", "runtimes"}


async def told(tmp_path: Path, **arguments: Any) -> dict[str, Any]:
    ctx = ToolContext(Workspace(tmp_path), lambda: datetime.now(UTC), "")
    tools = {"system_info": module.system_info.__tool__}  # type: ignore[attr-defined]
    result = await call(tools, ctx, ToolCall(id="c", name="system_info", arguments=arguments))
    assert not result.is_error, result.text
    for secret in (socket.gethostname(), os.environ["PATH"], str(tmp_path)):
        assert secret not in result.text
    assert getpass.getuser() not in result.text.split('"')
    return dict(msgspec.json.decode(result.text))


async def test_all_of_it(tmp_path: Path) -> None:
    facts = await told(tmp_path)
    assert set(facts) == KEYS
    assert len(facts["load"]) == 3
    assert facts["mem_total"] > facts["mem_available"] > 0
    assert set(facts["runtimes"]) == {"python", "node", "git", "docker"}
    assert facts["runtimes"]["python"][0] == "3"


async def test_only_what_was_asked_for(tmp_path: Path) -> None:
    assert set(await told(tmp_path, sections=["os", "disk"])) == {"os", "arch", "disk_total", "disk_free"}


async def test_without_proc_it_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROC", tmp_path)
    facts = await told(tmp_path, sections=["memory", "uptime", "cpu"])
    assert (facts["mem_total"], facts["uptime_s"], facts["cpu_model"]) == (None, None, None)
