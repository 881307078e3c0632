"""Connections under guard, over real sockets: pinned, without proxies, each hop of a redirect. security.md §4.5."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import trio

from goclaw.security.egress import guarded
from goclaw.security.ssrf import Guard, Refused
from tests.fakes.http1 import next_request, whole


class Host:
    """Answers every request; `redirect` is where it sends them."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.redirect = ""
        self.heard: list[str] = []

    async def serve(self, stream: trio.SocketStream) -> None:
        buffer = bytearray()
        async with stream:
            while request := await next_request(stream, buffer):
                self.heard.append(request.headers["host"])
                if self.redirect:
                    head = f"HTTP/1.1 302 Found\r\nLocation: {self.redirect}\r\nContent-Length: 0\r\n\r\n"
                    await stream.send_all(head.encode())
                else:
                    await stream.send_all(whole(200, b"{}"))


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    host = Host(listener.socket.getsockname()[1])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, host.serve, [listener])
        yield host
        nursery.cancel_scope.cancel()


class Names:
    """A resolver that answers once per name, each time the next list."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = {name.replace("_", "."): lists for name, lists in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str) -> list[str]:
        self.asked.append(host)
        return self.answers[host].pop(0)


@asynccontextmanager
async def client(guard: Guard, **more: object) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=guarded(guard, ssl.create_default_context()), **more) as http:  # type: ignore[arg-type]
        yield http


async def test_a_name_is_looked_up_once_and_cannot_change_its_mind(host: Host) -> None:
    """SEC-16."""
    names = Names(good_example=[["127.0.0.1"], ["169.254.169.254"]])

    async with client(Guard(allow_private=True, resolve=names)) as http:
        answer = await http.get(f"http://good.example:{host.port}/")

    assert answer.status_code == 200
    assert names.asked == ["good.example"], "the second answer is never asked for"
    assert host.heard == [f"good.example:{host.port}"], "the vendor is asked by its name"


async def test_a_name_that_leads_inside_is_refused_before_a_connection(host: Host) -> None:
    names = Names(bad_example=[["127.0.0.1"]])

    async with client(Guard(resolve=names)) as http:
        with pytest.raises(Refused) as refused:
            await http.get(f"http://bad.example:{host.port}/")

    assert refused.value.rule == "addr"
    assert host.heard == []


async def test_every_hop_of_a_redirect_is_checked(host: Host) -> None:
    """SEC-15."""
    names = Names(good_example=[["127.0.0.1"]], evil_example=[["169.254.169.254"]])
    guard = Guard(allow_private=True, resolve=names)
    for there, rule in (("http://169.254.169.254/latest/", "addr"), ("http://evil.example/", "addr")):
        host.redirect = there
        names.answers["good.example"] = [["127.0.0.1"]]
        async with client(guard, follow_redirects=True) as http:
            with pytest.raises(Refused) as refused:
                await http.get(f"http://good.example:{host.port}/")
        assert refused.value.rule == rule


async def test_proxies_of_the_environment_are_not_asked(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{host.port}")
    names = Names(good_example=[["127.0.0.1"]])

    async with client(Guard(allow_private=True, resolve=names)) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get("http://good.example:1030/")

    assert host.heard == []
    async with httpx.AsyncClient() as free:
        await free.get("http://anything.example/")
    assert host.heard == ["anything.example"], "a client without a guard asks it"


async def test_the_next_address_is_tried_when_one_does_not_answer(host: Host) -> None:
    names = Names(good_example=[["127.0.0.2", "127.0.0.1"]])

    async with client(Guard(allow_private=True, resolve=names)) as http:
        assert (await http.get(f"http://good.example:{host.port}/")).status_code == 200
