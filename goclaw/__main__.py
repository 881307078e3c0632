"""`python -m goclaw` and the command `goclaw`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from goclaw.edge.cli.commands import run

if TYPE_CHECKING:
    from goclaw.settings.load import Loaded


def main() -> None:
    run(run_gateway)


def run_gateway(loaded: Loaded, json_logs: bool) -> int:
    """Run the gateway until it is told to stop. Imported here: no other command pays for it."""
    from goclaw.app.gateway import run

    return run(loaded, json_logs)


if __name__ == "__main__":
    main()
