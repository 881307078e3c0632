"""Private hosts an operator lets models reach, and our own doors, shut even then. Contract: security.md §4.1.

Entries: `host`, `host:port`, `[v6]:port`, `*.suffix` (which is not the suffix itself), and networks.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from goclaw.settings.security import Door, door_of

Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class Allowance:
    hosts: frozenset[Door] = frozenset()  # port 0: any …
    suffixes: tuple[Door, ...] = ()  # … here too
    nets: tuple[IPv4Network | IPv6Network, ...] = ()
    own: frozenset[Door] = frozenset()  # where our gateway and its database listen; "" is all of this machine

    def names(self, host: str, port: int) -> bool:
        """The host is on the list, as a name or as an address."""
        return any((host, each) in self.hosts for each in (port, 0)) or any(
            host.endswith(f".{suffix}") and each in (port, 0) for suffix, each in self.suffixes
        )

    def takes(self, host: str, address: Address, port: int) -> bool:
        """A private address of a listed host, or of a listed network. One of our doors only with its port."""
        if (host, port) in self.hosts:
            return True
        listed = self.names(host, port) or any(address in net for net in self.nets if net.version == address.version)
        return listed and not self._own(host, address, port)

    def _own(self, host: str, address: Address, port: int) -> bool:
        doors = {door for door, each in self.own if each == port}
        return not doors.isdisjoint((host, str(address))) or ("" in doors and of_this_machine(address))


NOTHING = Allowance()


def allowance(hosts: Iterable[str], cidrs: Iterable[str], own: Iterable[Door] = ()) -> Allowance:
    """Raises ValueError for what is no entry."""
    doors = [door_of(entry) for entry in hosts]
    return Allowance(
        frozenset(door for door in doors if not door[0].startswith("*.")),
        tuple((host[2:], port) for host, port in doors if host.startswith("*.")),
        tuple(ip_network(cidr) for cidr in cidrs),
        frozenset(own),
    )


def of_this_machine(address: Address) -> bool:
    """Whether a socket can be bound to it."""
    if address.is_loopback:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True
