"""Approvals in the configuration file. Contract: tools.md §12.2, config-cli.md §4.6."""

from __future__ import annotations

from pathlib import Path

import pytest

from goclaw.settings.approval import ExecApproval
from goclaw.settings.load import load


@pytest.mark.parametrize(
    "text",
    [
        '{tools: {execApproval: {ask: "risky", timeout_seconds: 120}}}',
        '{tools: {exec_approval: {ask: "risky", timeoutSec: "2m"}}}',
    ],
)
def test_all_spellings_are_read(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    settings = load(path, {"GOCLAW_HOME": str(tmp_path)}, {}).settings.tools
    assert settings.exec_approval == ExecApproval(ask="risky", timeout_sec=120)
    assert settings.exec.allow_channels is None
