"""The policy of a real gateway: at its start, edited, asked for. Contract: security.md §9, SEC-34."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.gateway import Gateway, Refusal, running


def goclaw(gateway: Gateway, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "goclaw", *words]
    return subprocess.run(command, env=gateway.environ, cwd=gateway.home, capture_output=True, text=True, timeout=30)


async def test_a_policy_from_first_start_to_strict(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "home")
    file = gateway.home / "data/policy.yaml"
    with running(gateway):
        assert "tools.*" in file.read_text()  # what a first start leaves
        async with gateway.client() as client:
            before = await client.ask("policy.show")
            assert before["active"] is True

            file.write_text("allow_all: true")
            assert goclaw(gateway, "policy", "check").stderr.endswith("line 1: unknown key 'allow_all' in the policy\n")
            with pytest.raises(Refusal) as refusal:
                await client.ask("policy.reload")
            assert refusal.value.reason == "policy_invalid"
            assert (await client.ask("policy.show"))["version"] == before["version"]

    refused = goclaw(gateway, "--port", "0")
    assert refused.returncode == 1
    assert "E_POLICY_LOAD" in refused.stderr

    file.unlink()
    assert goclaw(gateway, "policy", "init", "--strict").returncode == 0
    assert goclaw(gateway, "policy", "check").stdout.endswith("policy-20e29e3d873483e5\n")
    assert goclaw(gateway, "policy", "init").returncode == 1
