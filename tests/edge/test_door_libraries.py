"""The cures reach into libraries. A release that moves what they hold on to must fail here, not in production."""

from __future__ import annotations

import inspect
import re
from importlib.metadata import version

import pytest
import trio
import trio.testing
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from trio_websocket import WebSocketConnection
from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection as Frames

from goclaw.edge.door.connection import Connection, Http1
from goclaw.edge.door.limits import DoorLimits
from goclaw.edge.door.link import Wire

REPLACED = [
    (Http1, H11Protocol, "_check_protocol"),
    (Http1, H11Protocol, "_create_stream"),
    (Http1, H11Protocol, "stream_send"),
    (Http1, H11Protocol, "_maybe_recycle"),
    (Http1, H11Protocol, "_send_error_response"),
    (Connection, TCPServer, "run"),
    (Connection, TCPServer, "protocol_send"),
    (Wire, WebSocketConnection, "_handle_message_event"),
    (Wire, WebSocketConnection, "_handle_close_connection_event"),
    (Wire, WebSocketConnection, "_handle_ping_event"),
    (Wire, WebSocketConnection, "_handle_pong_event"),
    (Wire, WebSocketConnection, "_send"),
]


@pytest.mark.parametrize(("ours", "theirs", "name"), REPLACED, ids=[f"{t.__name__}.{n}" for _, t, n in REPLACED])
def test_every_replaced_method_still_exists_with_its_parameters(ours: type, theirs: type, name: str) -> None:
    assert name in vars(ours)
    assert name in vars(theirs)
    assert inspect.iscoroutinefunction(vars(theirs)[name])
    assert len(inspect.signature(vars(ours)[name]).parameters) == len(inspect.signature(vars(theirs)[name]).parameters)


@pytest.mark.parametrize(
    ("package", "minor"), [("hypercorn", "0.18"), ("quart", "0.22"), ("quart-trio", "0.12"), ("trio-websocket", "0.12")]
)
def test_the_versions_the_traps_were_found_in_are_installed(package: str, minor: str) -> None:
    assert version(package).rpartition(".")[0] == minor


def test_what_we_call_without_replacing_is_there() -> None:
    for owner, names in {
        TCPServer: ["_idle_timeout"],
        H11Protocol: ["_send_h11_event"],
        Lifespan: ["handle_lifespan", "wait_for_startup", "wait_for_shutdown"],
        WebSocketConnection: ["_reader_task", "get_message", "send_message"],
    }.items():
        for name in names:
            assert inspect.iscoroutinefunction(getattr(owner, name)), f"{owner.__name__}.{name}"


async def test_what_we_read_inside_a_connection_is_there() -> None:
    ours, peers = trio.testing.memory_stream_pair()
    async with ours, peers:
        theirs = WebSocketConnection(ours, WSConnection(ConnectionType.SERVER))
        assert {"_close_reason", "_send_channel", "_wsproto"} <= vars(theirs).keys()
        wire = Wire(ours, Frames(ConnectionType.SERVER), DoorLimits())  # type: ignore[arg-type]
        assert wire.is_server
        assert wire._close_reason is None


def test_frames_offer_what_trio_websocket_asks_of_its_protocol() -> None:
    """`Wire` hands over wsproto's frames without its handshake."""
    mentioned = set(re.findall(r"\bself\._wsproto\.(\w+)", inspect.getsource(WebSocketConnection)))
    frames = Frames(ConnectionType.SERVER)
    assert mentioned
    assert all(hasattr(frames, name) for name in mentioned)
