"""Guards an operator may set. Contract: security.md §4, §18."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Literal

from msgspec import Meta, field

from goclaw.settings.section import Section

Door = tuple[str, int]  # host and port


class Ssrf(Section, frozen=True):
    """Which private hosts URLs from models and web pages may lead to; metadata services never."""

    allow_hosts: Annotated[tuple[str, ...], Meta(max_length=256, description="host, host:port or *.suffix")] = ()
    allow_cidrs: Annotated[tuple[str, ...], Meta(max_length=256, description="networks, such as 10.1.0.0/16")] = ()
    test_hosts: Annotated[
        dict[str, list[list[str]]],
        Meta(description="names and their addresses, one list per lookup; only with GOCLAW_ENV=test"),
    ] = field(default_factory=dict)


class Security(Section, frozen=True):
    """What holds whatever a model says."""

    ssrf: Ssrf = Ssrf()
    leak_scan: Annotated[
        Literal["off", "registered", "patterns", "block"], Meta(description="secrets in what agents say")
    ] = "registered"


def door_of(entry: str) -> Door:
    """`host`, `host:port`, `v6`, `[v6]` or `[v6]:port`. Port 0 when there is none. Raises ValueError."""
    text = entry.strip().lower()
    host, port = text, "0"
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{entry!r} is no host")
        port = rest[1:] or "0"
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not host or any(char in host for char in "/@ ?#") or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{entry!r} is no host or host:port")
    try:
        host = str(ip_address(host))
    except ValueError:
        if ":" in host or "*" in host.removeprefix("*."):
            raise ValueError(f"{entry!r} is no host or host:port") from None
    return host.removesuffix("."), int(port)
