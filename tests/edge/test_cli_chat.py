"""`goclaw agent chat` against a gateway that speaks the socket's protocol and can be told to misbehave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

from goclaw.edge.cli.address import socket_url
from goclaw.edge.cli.agent import Answer
from goclaw.edge.cli.options import Failure

TOKEN = "t-1"


class Gateway:
    """Connects whoever has the token, then lets `answer` react to `chat.send`."""

    def __init__(self, answer: Callable[[Gateway, dict[str, Any]], Awaitable[None]]) -> None:
        self.answer = answer
        self.asked: list[dict[str, Any]] = []
        self.socket: WebSocketConnection

    async def serve(self, request: WebSocketRequest) -> None:
        self.socket = await request.accept()
        try:
            while True:
                frame = json.loads(await self.socket.get_message())
                self.asked.append(frame)
                if frame["method"] == "chat.send":
                    await self.answer(self, frame)
                elif frame["params"].get("token") == TOKEN:
                    await self.reply(frame, {"protocol": 3, "role": "admin"})
                else:
                    await self.refuse(frame, "UNAUTHORIZED", "bad token")
        except ConnectionClosed:
            pass

    async def reply(self, frame: dict[str, Any], payload: dict[str, Any]) -> None:
        await self.send({"type": "res", "id": frame["id"], "ok": True, "payload": payload})

    async def refuse(self, frame: dict[str, Any], code: str, message: str) -> None:
        error = {"code": code, "message": message}
        await self.send({"type": "res", "id": frame["id"], "ok": False, "error": error})

    async def event(self, kind: str, run: str = "r-1", **detail: Any) -> None:
        payload = {"type": kind, "runId": run, "payload": detail}
        await self.send({"type": "event", "event": "agent", "seq": 1, "payload": payload})

    async def send(self, frame: dict[str, Any]) -> None:
        await self.socket.send_message(json.dumps(frame))


async def weather(gateway: Gateway, frame: dict[str, Any]) -> None:
    await gateway.event("run.queued", run="r-2")
    await gateway.event("run.queued", requestId=frame["id"])
    await gateway.event("run.queued", run="r-3")
    await gateway.event("chunk", content="Let me ")
    await gateway.event("chunk", run="r-2", content="SOMEBODY ELSE")
    await gateway.event("chunk", content="look")
    await gateway.event("tool.result", id="tc")
    await gateway.event("chunk", content="31 °C ")
    await gateway.reply(frame, {"runId": "r-1", "content": "31 °C and rain.", "finishReason": "stop"})


async def chat(gateway: Gateway, home: Path, *arguments: str, token: str = TOKEN) -> subprocess.CompletedProcess[bytes]:
    """Run `goclaw agent chat` against this gateway, found through --url."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, gateway.serve, "127.0.0.1", 0, None)
        url = f"http://127.0.0.1:{server.port}"
        done = await command(home, "--url", url, "--token", token, "--timeout", "20", "agent", "chat", *arguments)
        nursery.cancel_scope.cancel()
    return done


async def command(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]} | variables
    with trio.fail_after(30):
        return await trio.run_process(
            [sys.executable, "-m", "goclaw", *arguments],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=environment,
            cwd=home,
        )


async def test_an_answer_is_printed_as_it_comes_and_not_twice(tmp_path: Path) -> None:
    gateway = Gateway(weather)

    done = await chat(gateway, tmp_path, "Weather in Hue?", "--agent", "scout", "--session", "s")

    assert done.stdout.decode() == "Let me look\n31 °C and rain.\n"
    assert (done.returncode, done.stderr) == (0, b"")
    connect, send = gateway.asked
    assert (connect["method"], connect["params"]["client"]["mode"]) == ("connect", "cli")
    key = "agent:scout:cli:s"  # what the short name stands for (sessions-lanes-cron.md S1.7)
    assert send["params"] == {"message": "Weather in Hue?", "stream": True, "agentId": "scout", "sessionKey": key}


async def test_json_is_one_document(tmp_path: Path) -> None:
    done = await chat(Gateway(weather), tmp_path, "-m", "hi", "--json")

    assert json.loads(done.stdout)["content"] == "31 °C and rain."


async def test_a_wrong_token_is_exit_4(tmp_path: Path) -> None:
    done = await chat(Gateway(weather), tmp_path, "hi", token="wrong")

    assert (done.returncode, done.stderr) == (4, b"goclaw: bad token (UNAUTHORIZED)\n")


async def test_a_failed_run_is_exit_1(tmp_path: Path) -> None:
    async def fail(gateway: Gateway, frame: dict[str, Any]) -> None:
        await gateway.refuse(frame, "AGENT_TIMEOUT", "the run took too long")

    done = await chat(Gateway(fail), tmp_path, "hi")

    assert (done.returncode, done.stderr) == (1, b"goclaw: the run took too long (AGENT_TIMEOUT)\n")


async def test_a_gateway_that_goes_away_is_exit_3(tmp_path: Path) -> None:
    async def leave(gateway: Gateway, frame: dict[str, Any]) -> None:
        await gateway.socket.aclose(1001, "shutdown")

    done = await chat(Gateway(leave), tmp_path, "hi")

    assert (done.returncode, done.stderr) == (3, b"goclaw: the gateway closed the connection (shutdown)\n")


async def test_something_that_is_no_gateway_is_exit_3(tmp_path: Path) -> None:
    async def babble(gateway: Gateway, frame: dict[str, Any]) -> None:
        await gateway.socket.send_message("{nonsense")

    done = await chat(Gateway(babble), tmp_path, "hi")

    assert done.returncode == 3
    assert b"does not speak the gateway's protocol" in done.stderr


async def test_nobody_there_is_exit_3(tmp_path: Path) -> None:
    done = await command(tmp_path, "--url", "http://127.0.0.1:1", "agent", "chat", "hi")

    assert done.returncode == 3
    assert b"no gateway at ws://127.0.0.1:1/ws" in done.stderr


async def test_the_local_gateway_is_found_through_its_configuration_and_token(tmp_path: Path) -> None:
    home = tmp_path / ".goclaw"
    home.mkdir()
    (home / "auth.token").write_text(TOKEN)
    gateway = Gateway(weather)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, gateway.serve, "127.0.0.1", 0, None)
        (home / "config.json").write_text(f"{{gateway: {{port: {server.port}}}}}")
        done = await command(tmp_path, "agent", "chat", "hi")
        nursery.cancel_scope.cancel()

    assert done.returncode == 0, done.stderr


async def test_the_token_of_the_gateway_here_never_goes_to_another_one(tmp_path: Path) -> None:
    gateway = Gateway(weather)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, gateway.serve, "127.0.0.1", 0, None)
        url = f"http://127.0.0.1:{server.port}"
        done = await command(tmp_path, "--url", url, "agent", "chat", "hi", GOCLAW_GATEWAY_TOKEN=TOKEN)
        named = await command(tmp_path, "--url", url, "agent", "chat", "hi", GOCLAW_TOKEN=TOKEN)
        here = await command(tmp_path, "agent", "chat", "hi", GOCLAW_GATEWAY_TOKEN=TOKEN, GOCLAW_PORT=str(server.port))
        nursery.cancel_scope.cancel()

    assert done.returncode == 4
    assert "token" not in gateway.asked[0]["params"]
    assert named.returncode == 0, named.stderr
    assert here.returncode == 0, here.stderr


@pytest.mark.parametrize(
    ("url", "socket"),
    [
        ("http://h:1", "ws://h:1/ws"),
        ("https://h/base/", "wss://h/base/ws"),
        ("ws://h/ws", "ws://h/ws"),
        ("h:1", "ws://h:1/ws"),
        ("http://[::1]:5", "ws://[::1]:5/ws"),
    ],
)
def test_addresses_of_a_gateway_lead_to_its_socket(url: str, socket: str) -> None:
    assert socket_url(url) == socket


@pytest.mark.parametrize("url", ["ftp://h", "http://", "http://h:port", "http://[::1"])
def test_other_addresses_are_wrong_use(url: str) -> None:
    with pytest.raises(Failure, match="is no address of a gateway"):
        socket_url(url)


def test_a_restarted_answer_starts_on_a_new_line(capsys: pytest.CaptureFixture[str]) -> None:
    answer = Answer()
    for kind, detail in (
        ("run.queued", {"requestId": "2"}),
        ("chunk", {"content": "half an ans"}),
        ("run.retrying", {"reset": True}),
        ("chunk", {"content": "whole"}),
    ):
        answer.heard({"event": "agent", "payload": {"type": kind, "runId": "r", "payload": detail}})

    answer.end("whole answer")

    assert capsys.readouterr().out == "half an ans\nwhole answer\n"
