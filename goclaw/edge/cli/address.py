"""Where the gateway to talk to is."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from goclaw.edge.cli.options import Exit, Failure, Options
from goclaw.settings.instance import address_in
from goclaw.settings.load import Loaded


class Target(NamedTuple):
    url: str  # of the socket
    token: str  # empty = none


def target(options: Options) -> Target:
    """--url and --token or their variables, else what the configuration here says.

    The token of this configuration never goes to another gateway: with --url it must be given too.
    """
    if options.url:
        return Target(socket_url(options.url), options.token)
    loaded = options.load()
    token = options.token or loaded.settings.gateway.token.reveal()
    return Target(f"ws://{local_address(loaded)}/ws", token)


def socket_url(url: str) -> str:
    """`http(s)://` and `ws(s)://` addresses of a gateway as that of its socket. Raises Failure for anything else."""
    schemes = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        known = parts.scheme in schemes and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number, half an IPv6 address
        known = False
    if not known:
        raise Failure(f"{url} is no address of a gateway, expected http://HOST:PORT", Exit.USAGE)
    path = parts.path.rstrip("/")
    return f"{schemes[parts.scheme]}://{parts.netloc}{path if path.endswith('/ws') else path + '/ws'}"


def local_address(loaded: Loaded) -> str:
    """HOST:PORT that reaches the gateway of this configuration from this machine."""
    gateway = loaded.settings.gateway
    if gateway.port == 0 and (address := address_in(loaded.settings.data_dir)):
        return address  # any free port: the running gateway wrote down which
    return gateway.local_address(gateway.port)
