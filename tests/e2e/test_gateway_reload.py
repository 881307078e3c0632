"""A configuration that changes under a running gateway. Contract: config-cli.md §6.1, sessions-lanes-cron.md §4."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import trio

from tests.e2e.gateway import PATIENCE, Gateway, running


async def limits(gateway: Gateway) -> dict[str, int]:
    async with gateway.http() as http:
        lanes = (await http.get("/v1/queue")).json()["lanes"]
    return {lane["name"]: lane["limit"] for lane in lanes}


async def hang_up(gateway: Gateway, text: str, event: str) -> dict[str, Any]:
    """The file says `text` now; what the gateway makes of it."""
    said = len(gateway.log)
    (gateway.home / "config.json").write_text(text)
    os.kill(gateway.pid, signal.SIGHUP)
    with trio.fail_after(PATIENCE):
        while True:
            for line in gateway.log[said:]:
                if line["event"] == event:
                    return line
            await trio.sleep(0.02)


async def test_lanes_grow_and_shrink_at_a_hangup_and_a_bad_file_changes_nothing(tmp_path: Path) -> None:
    """CF-10."""
    three = {"queue": {"lanes": {"main": 3}}}
    with running(Gateway(tmp_path / "home", three, GOCLAW_LANE_DELEGATE="7")) as gateway:
        assert await limits(gateway) == {"main": 3, "subagent": 50, "team": 7, "cron": 30}

        wanted = {"queue": {"lanes": {"main": 5, "cron": 1}, "cap": 3}}
        applied = await hang_up(gateway, json.dumps(wanted), "config.reloaded")
        assert applied["applied"] == ["queue.lanes.cron", "queue.lanes.main"]
        assert await limits(gateway) == {"main": 5, "subagent": 50, "team": 7, "cron": 1}
        (late,) = [line for line in gateway.log if line["event"] == "config.restart_needed"]
        assert late["keys"] == ["queue.cap"]

        rejected = await hang_up(gateway, "{queue: {lanes: {main: 0, crone: 2}}}", "config.rejected")
        assert len(rejected["errors"]) == 2
        assert await limits(gateway) == {"main": 5, "subagent": 50, "team": 7, "cron": 1}
        assert gateway.complaints() == []
