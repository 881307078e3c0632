"""What a collector of figures finds. Contract: observability.md §9, OB-14; edge-http.md §1; SL-15."""

from __future__ import annotations

import re
from pathlib import Path

from tests.e2e.gateway import Gateway, ObedientVendor, running

SECRET_KEY = "agent:default:ws:direct:metrics-secret-name"


async def test_a_scrape_shows_the_work_done_and_no_names_of_people(gateway: Gateway, vendor: ObedientVendor) -> None:
    async with gateway.client() as client:
        await client.chat("hello", SECRET_KEY)
        async with gateway.http() as http:
            answer = await http.get("/metrics")
            alias = await http.get("/metrics/prometheus")
            as_json = await http.get("/metrics", headers={"Accept": "application/json"})

    text = answer.text
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    figures = {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line[0] != "#"}
    assert figures['goclaw_runs_total{agent="default",kind="chat",status="SUCCEEDED"}'] >= 1
    assert figures['goclaw_run_seconds_count{kind="chat"}'] >= 1
    assert figures['goclaw_run_claim_wait_seconds_count{lane="main",kind="chat"}'] >= 1
    assert figures['goclaw_lane_limit{lane="team"}'] == 100
    assert 'goclaw_lane_active{lane="main"}' in figures
    assert sum(number for name, number in figures.items() if name.startswith("goclaw_ws_connections")) >= 1
    assert figures["goclaw_process_resident_memory_bytes"] > 10_000_000
    assert figures["goclaw_db_pool_size"] >= 1
    assert figures['goclaw_actor_active{class="LaneActor",state="running"}'] == 4
    assert "goclaw_build_info{" in text
    assert re.search(r'goclaw_http_requests_total\{route="/metrics",method="GET",status="200"\} [1-9]', alias.text)
    assert "secret" not in text
    assert gateway.token not in text
    assert {one["name"] for one in as_json.json()["metrics"]} >= {"runs_total", "lane_active", "build_info"}


async def test_figures_need_a_credential_unless_they_are_public(gateway: Gateway, vendor: ObedientVendor) -> None:
    async with gateway.http(authorization="") as http:
        assert (await http.get("/metrics")).status_code == 401


async def test_public_figures_and_the_old_name_of_a_lane(tmp_path: Path) -> None:
    """SL-15."""
    public = {"gateway": {"metrics_public": True}}
    with running(Gateway(tmp_path, public, GOCLAW_LANE_DELEGATE="7")) as gateway:
        async with gateway.http(authorization="") as http:
            answer = await http.get("/metrics")
        log = gateway.log_path.read_text()

    assert answer.status_code == 200
    assert 'goclaw_lane_limit{lane="team"} 7' in answer.text
    assert "GOCLAW_LANE_DELEGATE" in log
    assert "GOCLAW_LANE_TEAM" in log
