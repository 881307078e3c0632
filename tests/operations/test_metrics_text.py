"""Figures as text. Contract: observability.md §9, Prometheus text format 0.0.4."""

from __future__ import annotations

import re

from goclaw.operations.metrics import exposition
from goclaw.runtime.metrics import Meter

LINE = re.compile(r'[a-z_]+(\{[a-z_]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z_]+="(?:[^"\\\n]|\\["\\n])*")*\})? -?[0-9.e+-]+')


def test_every_metric_is_explained_once_and_every_line_can_be_read() -> None:
    meter = Meter()
    meter.count("runs_total", 'a "quoted"\\\nname', "chat", "FAILED", by=12_345_678)
    meter.observe("run_seconds", 0.3, "chat")
    meter.observe("run_seconds", 0.3, "cron")
    meter.set("uptime_seconds", 1.5)

    text = exposition(meter.samples())

    lines = text.splitlines()
    assert 'goclaw_runs_total{agent="a \\"quoted\\"\\\\\\nname",kind="chat",status="FAILED"} 12345678' in lines
    assert "goclaw_uptime_seconds 1.5" in lines
    assert 'goclaw_run_seconds_bucket{kind="cron",le="0.5"} 1' in lines
    assert [line for line in lines if line.startswith("# TYPE")] == [
        "# TYPE goclaw_runs_total counter",
        "# TYPE goclaw_uptime_seconds gauge",
        "# TYPE goclaw_run_seconds histogram",
    ]
    assert all(LINE.fullmatch(line) for line in lines if not line.startswith("#"))
    assert text.endswith("\n")
