"""What every command shares: the global flags, the configuration they lead to, and how a command fails."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from goclaw.settings.load import Loaded

PROTOCOL = 3  # of the socket; edge-websocket.md §5
RunGateway = Callable[["Loaded", bool], int]  # the configuration, JSON logs to stdout? → exit code

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


class Exit(IntEnum):
    """Exit codes; config-cli.md §7."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4


class Failure(Exception):
    def __init__(self, sentence: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass
class Options:
    """The global flags. `run_gateway` comes from above: the command line knows no actors."""

    run_gateway: RunGateway
    config: Path | None = None
    json: bool = False
    url: str = ""
    token: str = ""
    timeout: float = 900.0  # seconds
    flags: dict[str, str] = field(default_factory=dict)  # settings by dotted key

    def load(self) -> Loaded:
        """The configuration; its warnings go to stderr. Raises ConfigInvalid."""
        from goclaw.settings.load import load

        loaded = load(self.config, os.environ, self.flags)
        for warning in loaded.warnings:
            print_error(f"warning: {warning}")
        return loaded


def options(ctx: typer.Context) -> Options:
    found = ctx.obj
    assert isinstance(found, Options)
    return found


def print_json(document: object) -> None:
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))


def print_error(sentence: str) -> None:
    typer.echo(f"goclaw: {sentence}", err=True)
