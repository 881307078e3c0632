"""The audit of a real gateway: what was done is in it before the answer, and a touch shows. SEC-41, SEC-42."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.gateway import Gateway, running

CANARY = "sk-canary-0123456789abcdefghij"


def goclaw(gateway: Gateway, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "goclaw", *words]
    return subprocess.run(command, env=gateway.environ, cwd=gateway.home, capture_output=True, text=True, timeout=30)


def kept(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


async def test_acts_are_kept_before_they_are_answered_and_a_touch_shows(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "home")
    file = gateway.home / "logs/audit.jsonl"
    with running(gateway):
        async with httpx.AsyncClient(base_url=gateway.address) as stranger:
            wrong = await stranger.get("/v1/agents", headers={"authorization": f"Bearer {CANARY}"})
            assert wrong.status_code == 401
        async with gateway.http() as http:
            row = {
                "name": "mine",
                "providerType": "openai_compat",
                "apiKey": CANARY,
                "apiBase": "https://example.com/v1",
            }
            added = await http.post("/v1/providers", json=row)
            assert added.status_code == 201, added.text
            done = [line["action"] for line in kept(file) if not line["action"].startswith("secret.")]
            assert done[-1] == "provider.created"  # whoever is answered can read it
            restarted = await http.post("/v1/actors/infra/activity/restart", json={"reason": "to see"})
            assert restarted.status_code == 202, restarted.text
            os.kill(gateway.pid, signal.SIGHUP)
            verdict = (await http.post("/v1/audit/verify")).json()
            assert verdict["ok"] is True
            listed = (await http.get("/v1/audit", params={"action": "provider.*"})).json()["lines"]
            assert [line["action"] for line in listed] == ["provider.created"]
            denied = (await http.get("/v1/audit", params={"decision": "deny"})).json()["lines"]
            assert [line["action"] for line in denied] == ["auth.failed"]

    lines = kept(file)
    actions = [line["action"] for line in lines if not line["action"].startswith("secret.")]
    assert actions[:3] == ["auth.failed", "provider.created", "actor.restarted"]
    assert CANARY not in file.read_text()
    in_table = verdict["chains"]
    assert list(in_table.values()) == [verdict["lines"]]

    assert goclaw(gateway, "audit", "verify", "--file", str(file)).returncode == 0
    assert json.loads(goclaw(gateway, "audit", "tail", "-n", "1").stdout) == lines[-1]
    touched = next(line["seq"] for line in lines if line["action"] == "provider.created")
    file.write_text(file.read_text().replace("provider.created", "provider.deleted", 1))
    broken = goclaw(gateway, "audit", "verify", "--file", str(file))
    assert broken.returncode == 1
    assert ": hash" in broken.stderr

    with running(gateway):
        async with gateway.http() as http:
            verdict = (await http.post("/v1/audit/verify")).json()
            assert (verdict["ok"], verdict["sink"], verdict["broken"]["seq"]) == (False, "file", touched)
