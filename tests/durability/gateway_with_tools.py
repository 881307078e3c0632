"""The product's own command, with the tools of the proof added: `python -m tests.durability.gateway_with_tools`."""

from __future__ import annotations

from goclaw.app.gateway import run as run_house
from goclaw.edge.cli.commands import run
from goclaw.settings.load import Loaded


def run_gateway(loaded: Loaded, json_logs: bool) -> int:
    return run_house(loaded, json_logs, tools=("goclaw.tools", "tests.fakes.tools"))


if __name__ == "__main__":
    run(run_gateway)
