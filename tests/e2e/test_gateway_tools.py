"""Tools over HTTP: what clients see, how calls end, and that nobody reads a secret. Contract: tools.md §3, §14, §23."""

from __future__ import annotations

import json
from pathlib import Path

from jsonschema import Draft202012Validator

from tests.e2e.gateway import Gateway, Json, ObedientVendor, VendorPlace, running, with_vendor

SECRET = "s3cret-value-of-the-custom-tool"
TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1"


async def test_tools_are_listed_called_made_and_their_secrets_kept(
    vendor_place: VendorPlace, vendor: ObedientVendor, tmp_path: Path
) -> None:
    """T14. The secret of a custom tool is in no answer, no row and no line of the log."""
    gateway = Gateway(
        tmp_path / "home", with_vendor(vendor_place, tools={"allow": ["group:fs", "exec", "a_greet", "web_fetch"]})
    )
    with running(gateway):
        async with gateway.http(x_goclaw_user_id="lan") as http:

            async def ask(method: str, path: str, status: int = 200, **body: object) -> Json:
                answer = await http.request(method, path, json=body or None)
                assert answer.status_code == status, answer.text
                seen.append(answer.text)
                return dict(answer.json()) if answer.content else {}

            async def invoke(status: int = 200, **body: object) -> Json:
                return await ask("POST", "/v1/tools/invoke", status, **body)

            seen: list[str] = []
            listed = (await ask("GET", "/v1/tools/builtin"))["tools"]
            shown = [await ask("GET", f"/v1/tools/builtin/{one['name']}") for one in listed]
            await ask("GET", "/v1/tools/builtin/nothing", 404)
            dry = await invoke(tool="write_file", args={"path": "a.txt", "content": "x"}, dryRun=True)
            empty = await invoke(name="list_files", parameters={})
            done = await invoke(tool="Write", args={"path": "b.txt", "content": "x", "odd": 1})
            wrong = await invoke(400, tool="write_file", args={"path": 5})
            denied = await invoke(403, tool="datetime")
            await invoke(404, tool="nothing")
            await invoke(404, tool="exec", agentId="nobody")
            command = await invoke(tool="exec", args={"command": "rm -rf /"})
            fetched = await invoke(403, tool="web_fetch", args={"url": "http://169.254.169.254/latest/"})
            outside = await invoke(tool="read_file", args={"path": "../../../etc/hostname"})
            late = await invoke(504, tool="exec", args={"command": "sleep 20"}, timeout_sec=1)

            parameters = {"properties": {"to": {"type": "string"}}}
            greet = {"name": "a_greet", "command": "echo hello {{.to}} $API_TOKEN", "parameters": parameters}
            made = await ask("POST", "/v1/tools/custom", 201, **greet)
            await ask("POST", "/v1/tools/custom", 409, **greet)
            here = f"/v1/tools/custom/{made['id']}"
            changed = await ask("PUT", here, env={"API_TOKEN": SECRET})
            ran = await invoke(tool="a_greet", args={"to": "x; id"})
            async with gateway.client() as client:
                said = await client.chat(f"!tool {json.dumps({'to': 'you'})}")
            await ask("PUT", "/v1/tools/builtin/exec", enabled=False)
            off = await invoke(403, tool="Bash", args={"command": "ls"})
            await ask("DELETE", here, 204)
            await ask("GET", here, 404)
        dump = json.dumps([gateway.rows(f"SELECT t::text FROM {table} t") for (table,) in gateway.rows(TABLES)])

    assert {"read_file", "exec", "web_fetch", "cron"} <= {one["name"] for one in listed}  # T1
    for one in shown:
        Draft202012Validator.check_schema(one["parameters"])
    assert (dry["dryRun"], dry["allowed"]) == (True, True)
    assert "a.txt" not in empty["result"]["content"]  # T2
    assert done["ok"]
    assert "odd" in done["result"]["content"]
    assert "/path" in json.dumps(wrong)
    assert denied["code"] == "FORBIDDEN"
    assert (command["ok"], command["result"]["error_code"]) == (False, "denied_command")  # SEC-01
    assert "refused address" in fetched["error"]
    assert (outside["ok"], outside["result"]["error_code"]) == (False, "denied_path")
    assert late["code"] == "AGENT_TIMEOUT"
    assert changed["env_keys"] == ["API_TOKEN"]
    assert ran["result"]["content"] == "hello x; id [REDACTED]"
    assert "hello you" in said["content"]
    assert off["code"] == "FORBIDDEN"
    assert SECRET not in json.dumps(seen) + said["content"] + dump + gateway.log_path.read_text()  # T14
    assert gateway.complaints() == []
