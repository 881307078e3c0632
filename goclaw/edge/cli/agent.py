"""`goclaw agent …`: talk to an agent of the running gateway. Contract: config-cli.md §7.2."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from goclaw.edge.cli import agents
from goclaw.edge.cli.operations import WithOperations
from goclaw.edge.cli.options import Exit, Failure, Json, Options, options, print_json

if TYPE_CHECKING:
    from goclaw.edge.cli.client import Event

app = typer.Typer(name="agent", cls=WithOperations, help="Talk to agents.", no_args_is_help=True)


@app.callback()
def agent() -> None:
    """Talk to agents."""


app.command()(agents.add)
app.command()(agents.delete)


@app.command()
def chat(
    ctx: typer.Context,
    text: Annotated[str, typer.Argument(help="What to say.")] = "",
    message: Annotated[str, typer.Option("--message", "-m", help="The same as TEXT.")] = "",
    agent: Annotated[str, typer.Option(help="Key of the agent; empty = the default one.")] = "",
    session: Annotated[str, typer.Option("--session", "-s", help="Session to go on with; empty = a new one.")] = "",
    json: Json = False,
) -> None:
    """Say one thing to an agent and print the answer as it comes. Without TEXT: line by line, until the input ends."""
    import trio

    said = text or message
    chosen = options(ctx)
    if (text and message) or (not said.strip() and (said or json or chosen.json)):
        raise Failure("say what to send, once: goclaw agent chat TEXT", Exit.USAGE)
    if said:
        trio.run(_chat, chosen, said, agent, session, json or chosen.json)
    else:
        line_by_line(chosen, agent, session)


def talk(
    ctx: typer.Context,
    agent: Annotated[str, typer.Option(help="Key of the agent; empty = the default one.")] = "",
    session: Annotated[str, typer.Option("--session", "-s", help="Session to go on with; empty = a new one.")] = "",
) -> None:
    """Talk to agents on the whole terminal; line by line where that cannot be, or with GOCLAW_NO_TUI."""
    chosen = options(ctx)
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("GOCLAW_NO_TUI") or _dumb():
        return line_by_line(chosen, agent, session)
    import asyncio

    from goclaw.edge.cli.screen import Screen

    async def show() -> None:
        await Screen(chosen, agent, session).run()

    return asyncio.run(show())


def line_by_line(chosen: Options, agent: str, session: str) -> None:
    import trio

    from goclaw.edge.cli.plain import PlainChat

    async def converse() -> Exit:
        return await PlainChat(chosen, agent, session).run()

    if code := trio.run(converse):
        raise typer.Exit(code)


def _dumb() -> bool:
    return os.environ.get("TERM", "dumb") == "dumb"


async def _chat(options: Options, said: str, agent: str, session: str, as_json: bool) -> None:
    from goclaw.domain.session import cli_key
    from goclaw.edge.cli.address import target
    from goclaw.edge.cli.client import connect

    named = {"agentId": agent, "sessionKey": cli_key(session, agent or "default") if session else ""}
    params: dict[str, Any] = {"message": said, "stream": True} | {key: value for key, value in named.items() if value}
    answer = Answer(silent=as_json)
    async with connect(target(options)) as socket:
        final = await socket.call("chat.send", params, options.timeout, answer.heard)
    if as_json:
        print_json(final)
    else:
        answer.end(str(final.get("content", "")))


class Answer:
    """Prints an answer while it is made. What a client has seen in pieces is not printed again at the end."""

    def __init__(self, silent: bool = False) -> None:
        self._silent = silent
        self._run = ""  # ours: only its sender is told a requestId, and this socket sends one
        self._segment = ""  # text since the last tool or restart (edge-websocket.md §8.3)

    def heard(self, event: Event) -> None:
        about = event.get("payload")
        if self._silent or event.get("event") != "agent" or not isinstance(about, dict):
            return
        detail = about.get("payload") or {}
        match about.get("type"):
            case "run.queued" if "requestId" in detail:
                self._run = str(about.get("runId"))
            case "chunk" if about.get("runId") == self._run:
                self._print(str(detail.get("content", "")))
            case "tool.result" | "run.retrying" if about.get("runId") == self._run and self._segment:
                self._print("\n")
                self._segment = ""

    def end(self, content: str) -> None:
        """Print what is missing of the final text, and end the line."""
        if content.startswith(self._segment):
            self._print(content[len(self._segment) :])
        elif content.strip() != self._segment.strip():
            self._print("\n" + content)
        typer.echo()

    def _print(self, text: str) -> None:
        typer.echo(text, nl=False)
        self._segment += text
