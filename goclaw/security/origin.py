"""Which web pages may open a socket or read an answer. Contract: edge-auth.md §3 (browser guard), §8; README R13.

A page's origin is what its browser says it is. Programs send none and are judged by their credential alone.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def socket_allowed(origin: str | None, host: str | None, allowed: Collection[str]) -> bool:
    """Whether a WebSocket upgrade with these `Origin` and `Host` headers passes when a gateway token is set.

    `allowed` is `gateway.allowed_origins`. Empty: the page must come from the host it talks to, by name, ports
    ignored because published proxies rewrite them; or both are loopback.
    """
    if origin is None:
        return True
    return listed(origin, allowed) if allowed else same_host(origin, host)


def dev_allowed(
    origin: str | None,
    host: str | None,
    allowed: Collection[str],
    own_hosts: Collection[str],
    *,
    cross_site: bool = False,
) -> bool:
    """Whether a request passes when there is no gateway token, so that any page a developer opens is an attacker.

    `own_hosts` are the bind address and `gateway.allowed_hosts`: a name outside them that resolves to us is DNS
    rebinding. `cross_site` is `Sec-Fetch-Site: cross-site`. Requests with neither mark come from no browser and pass.
    """
    if origin is None and not cross_site:
        return True
    addressed = host_name(host or "")
    if not is_loopback(addressed) and addressed not in {host_name(own) for own in own_hosts}:
        return False
    if origin is None:
        return False
    return listed(origin, allowed) or is_loopback(_origin_host(origin)) or same_host(origin, host)


def listed(origin: str, allowed: Collection[str]) -> bool:
    """Whether `origin` is named in `allowed`, exactly but for case and default ports. `*` names all, `null` too."""
    if "*" in allowed:
        return True
    plain = normal(origin)
    return plain is not None and any(normal(entry) == plain for entry in allowed)


def same_host(origin: str, host: str | None) -> bool:
    """Whether an origin and a `Host` header name the same host, or are both loopback. Ports are ignored."""
    page, addressed = _origin_host(origin), host_name(host or "")
    return page != "" and (page == addressed or (is_loopback(page) and is_loopback(addressed)))


def normal(origin: str) -> str | None:
    """`scheme://host[:port]` in lower case without a default port; None for anything else, such as `null`."""
    try:
        parts = urlsplit(origin.lower())
        port = parts.port
    except ValueError:
        return None
    if not parts.scheme or not parts.hostname or "@" in parts.netloc or parts.path or parts.query or parts.fragment:
        return None
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if port is None or port == DEFAULT_PORTS.get(parts.scheme):
        return f"{parts.scheme}://{name}"
    return f"{parts.scheme}://{name}:{port}"


def host_name(host: str) -> str:
    """The name or address in `name[:port]`, lower case, without brackets and final dot; "" if there is none."""
    if host.count(":") > 1 and not host.startswith("["):  # a bare IPv6 address, as bind addresses are written
        return host.lower()
    try:
        parts = urlsplit(f"//{host.lower()}")
        parts.port  # noqa: B018 - the check is in the reading
    except ValueError:
        return ""
    if parts.netloc != host.lower() or "@" in host:
        return ""
    return (parts.hostname or "").removesuffix(".")


def is_loopback(name: str) -> bool:
    """`localhost`, names under it, 127.0.0.0/8 and ::1. Nothing is resolved."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _origin_host(origin: str) -> str:
    plain = normal(origin)
    return host_name(plain.partition("://")[2]) if plain else ""
