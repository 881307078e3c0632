"""A declared operation is a command: its input makes the parameters, its method is asked, its answer printed."""

from __future__ import annotations

import json
from typing import Annotated, Any

import msgspec
import trio
import typer
from msgspec import Meta
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket
from typer.testing import CliRunner

from goclaw.domain.access import Role
from goclaw.edge.cli.operations import command_of, table
from goclaw.edge.cli.options import Exit, Failure, Options
from goclaw.operations.operation import Cli, Operation, Rpc


class ListThings(msgspec.Struct):
    owner: str
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    only_new: bool = False
    of_class: str | None = msgspec.field(name="class", default=None)


async def things(ctx: object, ask: ListThings) -> dict[str, Any]:
    """List things."""
    raise AssertionError("the command line asks the gateway, it runs nothing itself")


LIST = Operation(
    name="things.list",
    summary="List things.",
    fn=things,
    input=ListThings,
    result=dict[str, Any],
    rpc=(Rpc("things.list", Role.VIEWER),),
    cli=(Cli("things list"),),
)


async def run(answer: dict[str, Any], *arguments: str) -> tuple[Any, list[dict[str, Any]]]:
    """Run the command against a gateway that answers everything with `answer`; the outcome and what it was asked."""
    asked: list[dict[str, Any]] = []

    async def serve(request: WebSocketRequest) -> None:
        socket = await request.accept()
        try:
            while True:
                asked.append(json.loads(await socket.get_message()))
                await socket.send_message(
                    json.dumps({"type": "res", "id": asked[-1]["id"], "ok": True, "payload": answer})
                )
        except ConnectionClosed:
            pass

    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(command_of(LIST))
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, serve, "127.0.0.1", 0, None)
        chosen = Options(lambda *_: 0, url=f"http://127.0.0.1:{server.port}", timeout=10)
        with trio.fail_after(20):
            done = await trio.to_thread.run_sync(lambda: CliRunner().invoke(app, list(arguments), obj=chosen))
        nursery.cancel_scope.cancel()
    return done, asked


async def test_arguments_and_options_become_typed_parameters() -> None:
    done, asked = await run({"ok": True}, "lan", "--limit", "5", "--only-new", "true", "--class", "x")

    assert done.exit_code == 0, done.output
    assert (asked[-1]["method"], asked[-1]["params"]) == (
        "things.list",
        {"owner": "lan", "limit": 5, "only_new": True, "class": "x"},
    )
    assert json.loads(done.stdout) == {"ok": True}


async def test_what_was_not_given_is_not_sent() -> None:
    _, asked = await run({}, "lan")

    assert asked[-1]["params"] == {"owner": "lan"}


async def test_a_list_is_a_table_and_with_json_a_document() -> None:
    answer = {"things": [{"id": 1, "name": "a\nb", "tags": ["x"]}, {"id": 22, "state": None}], "total": 2}

    assert (await run(answer, "lan"))[0].stdout == "ID  NAME  STATE\n1   a b\n22\n"
    assert json.loads((await run(answer, "lan", "--json"))[0].stdout) == answer


async def test_a_bad_value_is_wrong_use_and_never_sent() -> None:
    done, asked = await run({}, "lan", "--limit", "many")

    assert isinstance(done.exception, Failure)
    assert done.exception.code == Exit.USAGE
    assert "limit" in str(done.exception)
    assert asked == []


def test_long_cells_are_cut() -> None:
    assert table([{"text": "x" * 100}])[1] == "x" * 47 + "…"
