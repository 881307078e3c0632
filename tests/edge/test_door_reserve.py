"""Taking the port. Contract: config-cli.md §10 step 2, CF-19."""

from __future__ import annotations

import os
import socket

import pytest

from goclaw.domain.errors import StartupFatal
from goclaw.edge.door.reserve import listen, reserve


def close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def test_a_reserved_port_refuses_connections_until_it_listens() -> None:
    (sock,) = reserve("127.0.0.1", 0)
    with sock, socket.socket() as client:
        assert client.connect_ex(sock.getsockname()) != 0
        listen(sock, 1)
        assert client.connect_ex(sock.getsockname()) == 0


def test_a_name_with_several_addresses_gets_one_port() -> None:
    sockets = reserve("localhost", 0)
    try:
        assert len({sock.getsockname()[1] for sock in sockets}) == 1
    finally:
        close(sockets)


def test_all_addresses_can_be_reserved() -> None:
    sockets = reserve("", 0)
    try:
        assert {sock.getsockname()[0] for sock in sockets} <= {"0.0.0.0", "::"}
    finally:
        close(sockets)


def test_a_port_in_use_names_the_address_and_the_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]

        with pytest.raises(StartupFatal) as fatal:
            reserve("127.0.0.1", port)

    assert fatal.value.reason == "E_BIND"
    assert f"127.0.0.1 port {port} is in use by " in fatal.value.detail
    assert f"(pid {os.getpid()})" in fatal.value.detail
    assert fatal.value.hint


def test_the_second_of_two_reservations_fails_when_it_listens() -> None:
    (first,) = reserve("127.0.0.1", 0)
    port = first.getsockname()[1]
    (second,) = reserve("127.0.0.1", port)
    with first, second:
        listen(first, 1)

        with pytest.raises(StartupFatal, match=f"port {port} is in use"):
            listen(second, 1)


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_a_host_that_is_not_ours_is_refused(host: str) -> None:
    with pytest.raises(StartupFatal, match=host) as fatal:
        reserve(host, 0)
    assert fatal.value.reason == "E_BIND"
