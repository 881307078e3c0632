"""Providers through the doors of a real gateway: added, asked, changed in mid-answer, and kept over a start.

Contract: edge-http.md §7; providers.md §3 P3.1 to P3.9, PR-29, PR-37.
"""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from tests.e2e.gateway import PATIENCE, Gateway, VendorPlace, running
from tests.fakes.vendors.farm import open_farm
from tests.fakes.vendors.script import answer


async def goclaw(gateway: Gateway, *words: str, said: bytes = b"") -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "goclaw", "--url", gateway.address, "--token", gateway.token, *words]
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(
            command, env=gateway.environ, stdin=said, capture_stdout=True, capture_stderr=True, check=False
        )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


async def test_a_provider_is_added_asked_and_kept_and_its_key_is_nowhere(
    tmp_path: Path, vendor_place: VendorPlace
) -> None:
    gateway = Gateway(tmp_path / "home", {"providers": {"allow_private": True}})
    async with open_farm() as farm:
        first, second = farm["anthropic"], farm["openai"]
        first.will(answer("I am the first"))
        second.will(answer("I am the second"))
        with running(gateway):
            async with gateway.http() as http, gateway.client() as client:
                before = (await http.get("/v1/providers")).json()["providers"]
                assert [(one["name"], one["source"]) for one in before] == [("offline", "builtin")]
                row = {
                    "name": "acme",
                    "provider_type": "anthropic_native",
                    "api_base": first.url,
                    "api_key": "sk-one-two",
                }
                made = await http.post("/v1/providers", json=row)
                assert made.status_code == 201, made.text
                assert (made.json()["api_key"], made.json()["has_api_key"]) == ("***", True)
                said = await client.chat("hello", "agent:default:ws:direct:acme")
                assert said["content"] == "I am the first"
                assert first.heard[-1].headers["x-api-key"] == "sk-one-two"
                other = {
                    **row,
                    "name": "zeta",
                    "provider_type": "openai_compat",
                    "api_base": second.url,
                    "settings": {"models": ["gpt-4o"]},
                }
                assert (await http.post("/v1/providers", json=other)).status_code == 201
                gone = await http.delete(f"/v1/providers/{made.json()['id']}")
                assert gone.json() == {"deleted": True}
                assert (await client.chat("again", "agent:default:ws:direct:acme"))["content"] == "I am the second"
                refused = await http.post(
                    "/v1/providers", json={**other, "name": "meta", "api_base": "http://169.254.169.254/"}
                )
                assert (refused.status_code, refused.json()["details"]["field"]) == (400, "api_base")
                second.will(answer("by command"))
                key = ["--api-base", second.url, "--api-key", "-", "--models", "gpt-4o"]
                await goclaw(gateway, "providers", "add", "cli", "--type", "openai_compat", *key, said=b"sk-cli\n")
                shown = await goclaw(gateway, "providers", "list")
                assert [line.split()[1] for line in shown.splitlines()] == ["NAME", "offline", "zeta", "cli"]
                examined = await goclaw(gateway, "--port", "0", "doctor")
                assert "default cli; keys set: cli, zeta" in examined.replace("zeta, cli", "cli, zeta"), examined
                assert "sk-cli" not in shown + examined
                assert "it answers" in await goclaw(gateway, "providers", "verify", "cli")
                assert "cli/gpt-4o" in await goclaw(gateway, "model", "set", "cli/gpt-4o")
                assert (await client.chat("hi", "agent:default:ws:direct:cli"))["content"] == "by command"
                assert second.heard[-1].key == "sk-cli"
                assert "default" in (await http.delete("/v1/providers/cli")).text, "it names who uses it"
                await goclaw(gateway, "providers", "delete", "cli", "--force")
                await goclaw(gateway, "providers", "use", "zeta")
                second.will(answer("still the second"))
        with running(gateway):
            async with gateway.client() as client:
                assert (await client.chat("hi", "agent:default:ws:direct:new"))["content"] == "still the second"
        (gateway.home / "data" / "encryption.key").write_text("00" * 32)
        with running(gateway):
            async with gateway.http() as http:
                (broken,) = [
                    one for one in (await http.get("/v1/providers")).json()["providers"] if one["name"] == "zeta"
                ]
                assert (broken["usable"], broken["error"]) == (False, "zeta: its key cannot be opened: write it again")
                ((kept,),) = gateway.rows("SELECT api_key FROM llm_providers")
                assert kept.startswith("aes-gcm2:")
    assert "sk-one-two" not in gateway.log_path.read_text()
    assert gateway.complaints() == []
