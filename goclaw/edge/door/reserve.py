"""Takes the port before any work is done. Contract: config-cli.md §10 step 2."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

from goclaw.domain.errors import StartupFatal

LISTEN = "0A"  # socket state in /proc/net/tcp


def reserve(host: str, port: int) -> list[socket.socket]:
    """Sockets bound to every address of `host` ("" = all), not listening yet. Port 0 takes a free one for all.

    Raises StartupFatal E_BIND: port taken, no right to it, or a host that is not ours.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise unbound(host, port, error) from None
    bound: list[socket.socket] = []
    trouble: OSError | None = None
    for family, kind, protocol, _, address in dict.fromkeys(found):
        try:
            bound.append(_bind(family, kind, protocol, address, port))
        except OSError as error:
            trouble = error
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):  # a host without IPv6 is fine
                break
        else:
            port = bound[-1].getsockname()[1]
    else:
        if bound:
            return bound
    for sock in bound:
        sock.close()
    raise unbound(host, port, trouble or OSError(errno.EADDRNOTAVAIL, "no address")) from trouble


def listen(sock: socket.socket, backlog: int) -> None:
    """Two processes may hold the same reservation; the second to listen fails here with E_BIND."""
    host, port = sock.getsockname()[:2]
    try:
        sock.listen(backlog)
    except OSError as error:
        raise unbound(host, port, error) from error


def unbound(host: str, port: int, error: OSError) -> StartupFatal:
    where = f"{host or '*'} port {port}"
    if error.errno != errno.EADDRINUSE:
        return StartupFatal(
            "E_BIND", f"cannot listen on {where}: {error.strerror}", "check gateway.host and gateway.port"
        )
    holder = holder_of(port)
    by = f" by {holder}" if holder else ""
    return StartupFatal("E_BIND", f"{where} is in use{by}", "stop that process or set gateway.port")


def holder_of(port: int) -> str:
    """`name (pid n)` of the process that listens on `port`; "" when /proc does not tell."""
    targets = {f"socket:[{inode}]" for inode in _listening(port)}
    if not targets:
        return ""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(link) in targets:
                name = (link.parents[1] / "comm").read_text().strip()
                return f"{name} (pid {link.parts[2]})"
        except OSError:  # it ended, or it is somebody else's
            continue
    return ""


def _listening(port: int) -> list[str]:
    """Inodes of the sockets that listen on `port`."""
    inodes = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for _, local, _, state, *more in map(str.split, rows):
            if state == LISTEN and int(local.rpartition(":")[2], 16) == port:
                inodes.append(more[5])
    return inodes


def _bind(
    family: int, kind: int, protocol: int, address: tuple[str | int, ...] | tuple[int, bytes], port: int
) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address[0], port, *address[2:]))
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
