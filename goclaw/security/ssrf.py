"""Where this gateway may connect to on somebody else's word. Contract: security.md §4.

`parse` reads a URL as strictly as a browser reads it loosely; `Guard` says which hosts and addresses may be asked.
What connects is in `egress`, which asks the same guard for every address, so a name cannot change its mind.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal
from urllib.parse import unquote

import idna
import trio

from goclaw.security.allowance import NOTHING, Allowance

Rule = Literal["addr", "host", "port", "userinfo", "scheme", "badurl", "resolve"]
Resolve = Callable[[str], Awaitable[list[str]]]

LONGEST = 8192  # characters of a URL
LOOKUP = 5.0  # seconds; step 7
PORTS = {"http": 80, "https": 443}
SHAPE = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?://(?P<authority>[^/?#]*))?", re.ASCII)
HOST = re.compile(r"[^\x00-\x20\x7f/\\?#@:%\[\]]+")
NUMBER = re.compile(r"0x[0-9a-f]*|\d+", re.ASCII)
LOOPBACK = re.compile(r"localhost|.*\.localhost")
NAMES = re.compile(r".*\.(?:local|internal|home\.arpa|lan|localdomain|svc|cluster\.local)|localhost|.*\.localhost")
METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "instance-data"})


def _v4(text: str) -> tuple[IPv4Network, ...]:
    return tuple(IPv4Network(net) for net in text.split())


def _v6(text: str) -> tuple[IPv6Network, ...]:
    return tuple(IPv6Network(net) for net in text.split())


# security.md §4.1 and §4.3
METADATA4 = _v4("169.254.0.0/16 100.100.100.200/32 192.0.0.192/32 168.63.129.16/32")
METADATA6 = _v6("fd00:ec2::254/128 fe80::/10")
PRIVATE4 = _v4("10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 172.16.0.0/12 192.168.0.0/16")
PRIVATE6 = _v6("::1/128 fc00::/7")
REFUSED4 = (
    *METADATA4,
    *PRIVATE4,
    *_v4(
        "0.0.0.0/8 192.0.0.0/24 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.175.48.0/24 "
        "198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4"
    ),
)
GLOBAL6 = IPv6Network("2000::/3")
REFUSED6 = _v6("2001::/23 2001:db8::/32 3fff::/20")
WITHIN6 = ((IPv6Network("::ffff:0:0/96"), 0), (IPv6Network("64:ff9b::/96"), 0), (IPv6Network("2002::/16"), 80))


class Refused(Exception):
    """A URL nobody may be sent to. Names the rule and the host, never an address that was found."""

    def __init__(self, rule: Rule, host: str = "") -> None:
        super().__init__(f"refused address ({rule}){': ' + host[:253] if host else ''}")
        self.rule = rule
        self.host = host


@dataclass(frozen=True)
class Target:
    scheme: str
    host: str  # an A-label, or an address without brackets
    port: int
    address: IPv4Address | IPv6Address | None = None  # if the host is one, however it was spelled


def parse(url: str) -> Target:
    """Steps 1 to 3 and 6. Raises Refused."""
    if len(url) > LONGEST or any(char <= " " or char in "\\\x7f" or unicodedata.category(char) == "Cc" for char in url):
        raise Refused("badurl")
    shape = SHAPE.match(url)
    if shape is None:
        raise Refused("badurl")
    scheme, authority = shape["scheme"].lower(), shape["authority"]
    if scheme not in PORTS:
        raise Refused("scheme" if authority is not None else "badurl")
    if not authority:
        raise Refused("badurl")
    if "@" in authority:
        raise Refused("userinfo")
    if authority.startswith("["):
        text, bracket, rest = authority[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise Refused("badurl")
        return Target(scheme, text, _port(rest[1:], scheme), _v6_of(text))
    name, _, rest = authority.partition(":")
    host = _host(name)
    return Target(scheme, host, _port(rest, scheme), _v4_of(host))


def _port(text: str, scheme: str) -> int:
    if not text:
        return PORTS[scheme]
    if not re.fullmatch(r"\d{1,5}", text, re.ASCII) or not 1 <= int(text) <= 65535:
        raise Refused("badurl")
    if int(text) < 1024 and int(text) not in PORTS.values():
        raise Refused("port")
    return int(text)


def _host(name: str) -> str:
    try:
        plain = unquote(name, errors="strict")
    except UnicodeDecodeError:
        raise Refused("badurl") from None
    host = unicodedata.normalize("NFKC", plain).replace("\u3002", ".").lower().removesuffix(".")
    if not HOST.fullmatch(plain) or not HOST.fullmatch(host) or "" in host.split("."):
        raise Refused("badurl")
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode()
        except idna.IDNAError:
            raise Refused("badurl") from None
    if len(host) > 253:
        raise Refused("badurl")
    return host


def _v4_of(host: str) -> IPv4Address | None:
    """The address in any spelling: 1 to 4 parts, each decimal, octal or hex. None for a name."""
    parts = host.split(".")
    if not NUMBER.fullmatch(parts[-1]):
        return None
    if len(parts) > 4 or not all(NUMBER.fullmatch(part) for part in parts):
        raise Refused("badurl")
    try:
        *front, last = (_number(part) for part in parts)
    except ValueError:  # 08 is no octal number
        raise Refused("badurl") from None
    if any(number > 255 for number in front) or last >= 256 ** (4 - len(front)):
        raise Refused("badurl")
    return IPv4Address(sum(number << (24 - 8 * place) for place, number in enumerate(front)) + last)


def _number(part: str) -> int:
    if part.startswith("0x"):
        return int(part[2:18] or "0", 16)
    return int(part[:32], 8 if part.startswith("0") and part != "0" else 10)


def _v6_of(text: str) -> IPv6Address:
    try:
        return IPv6Address(text.partition("%")[0])
    except ValueError:
        raise Refused("badurl") from None


async def lookup(host: str) -> list[str]:
    """All addresses of a name. Raises OSError."""
    found = await trio.socket.getaddrinfo(host, None, type=trio.socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True)
class Guard:
    """Whom a caller may reach. Metadata services and link-local addresses never; see `allow_private`.

    `allow_private`: also loopback and private networks, which an operator says yes to. `loopback` alone: only this
    machine (Ollama). `allowed`: only these of them.
    """

    allow_private: bool = False
    loopback: bool = False
    resolve: Resolve = lookup
    allowed: Allowance = NOTHING

    def check(self, url: str) -> Target:
        """What a URL means, if its host may be asked as far as can be said without a lookup. Raises Refused."""
        target = parse(url)
        if target.address is not None:
            self._admit(target.address, target.host, target.port)
        else:
            self._check_name(target.host, target.port)
        return target

    async def addresses(self, host: str, port: int = 0) -> list[str]:
        """Where to connect to for a host of a checked URL: one lookup, and every answer must pass.

        Raises Refused; rule `resolve` if the name has no address, or none within 5 s.
        """
        address = _v6_of(host) if ":" in host else _v4_of(host)
        if address is not None:
            self._admit(address, host, port)
            return [str(address)]
        self._check_name(host, port)
        found: list[str] = []
        try:
            with trio.move_on_after(LOOKUP):
                found = await self.resolve(host)
        except (OSError, UnicodeError):
            pass
        if not found:
            raise Refused("resolve", host)
        for each in found:
            self._admit(_v6_of(each) if ":" in each else IPv4Address(each), host, port)
        return found

    def _check_name(self, host: str, port: int) -> None:
        private = self.allow_private or (self.loopback and LOOPBACK.fullmatch(host)) or self.allowed.names(host, port)
        if host in METADATA_NAMES or (NAMES.fullmatch(host) and not private):
            raise Refused("host", host)

    def _admit(self, address: IPv4Address | IPv6Address, host: str, port: int) -> None:
        inner = _inner(address)
        if isinstance(inner, IPv4Address):
            metadata = any(inner in net for net in METADATA4)
            private = any(inner in net for net in PRIVATE4)
            refused = any(inner in net for net in REFUSED4)
        else:
            metadata = any(inner in net for net in METADATA6)
            private = any(inner in net for net in PRIVATE6)
            refused = inner not in GLOBAL6 or any(inner in net for net in REFUSED6)
        allowed = private and (
            self.allow_private or (self.loopback and inner.is_loopback) or self._listed(inner, host, port)
        )
        if metadata or (refused and not allowed):
            raise Refused("addr", host)

    def _listed(self, address: IPv4Address | IPv6Address, host: str, port: int) -> bool:
        """Whoever spells an address in his own way means the address."""
        spelled = ":" in host or NUMBER.fullmatch(host.rpartition(".")[2])
        return self.allowed.takes(str(address) if spelled else host, address, port)


def _inner(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 one is a way to spell, else itself."""
    if isinstance(address, IPv6Address):
        for net, shift in WITHIN6:
            if address in net:
                return IPv4Address(int(address) >> shift & 0xFFFFFFFF)
    return address
