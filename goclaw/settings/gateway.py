"""The door: where the gateway listens, who may come in, and how much at once.

Contract: config-cli.md §4.2, edge-auth.md §3, §8, §9.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Literal

from msgspec import Meta

from goclaw.domain.access import SYSTEM_USER
from goclaw.settings.quota import Quota
from goclaw.settings.section import Id, Secret, Section


class Gateway(Section, frozen=True):
    """Where the gateway listens and whom it trusts."""

    host: Annotated[str, Meta(min_length=1, description="address to bind; without a token see allow_insecure")] = (
        "0.0.0.0"  # noqa: S104 - config-cli.md §4.2; `bind_host` narrows it when there is no token
    )
    port: Annotated[int, Meta(ge=0, le=65535, description="0 = any free port, printed at start")] = 18790
    token: Annotated[Secret, Meta(description="empty = every caller is admin, on loopback only")] = Secret()
    allow_insecure: Annotated[bool, Meta(description="bind `host` even without a token")] = False
    require_token: Annotated[bool, Meta(description="an empty token is a start error")] = False
    require_user_id: Annotated[bool, Meta(description="user-scoped requests must name a user")] = True
    owner_ids: Annotated[tuple[Id, ...], Meta(description="users who own the installation")] = ()
    allowed_origins: Annotated[tuple[str, ...], Meta(description="browser origins; empty = same origin only")] = ()
    allowed_hosts: Annotated[tuple[str, ...], Meta(description="extra Host names of browsers without a token")] = ()
    max_message_chars: Annotated[int, Meta(ge=100, le=500_000, description="longer messages are cut")] = 32_000
    block_reply: Annotated[bool, Meta(description="tell what agents say beside their calls as messages")] = False
    injection_action: Annotated[
        Literal["off", "log", "warn", "block"], Meta(description="when text of others looks like instructions")
    ] = "warn"
    max_ws_connections: Annotated[int, Meta(ge=1, le=1_000_000, description="open sockets")] = 10_240
    admin_tree: Annotated[bool, Meta(description="operators may look at actors and steer them")] = True
    metrics_public: Annotated[bool, Meta(description="GET /metrics needs no credential")] = False
    quota: Quota = Quota()
    drain_sec: Annotated[float, Meta(ge=0, le=3600, description="whole budget of an orderly stop")] = 60.0

    @property
    def dev_mode(self) -> bool:
        return not self.token

    def is_owner(self, user_id: str) -> bool:
        """Without a list the one user of the gateway token owns the installation."""
        return user_id in (self.owner_ids or (SYSTEM_USER,))

    @property
    def bind_host(self) -> str:
        """`host`, or 127.0.0.1 while there is no token to protect it (README.md R32)."""
        if self.token or self.allow_insecure or is_loopback(self.host):
            return self.host
        return "127.0.0.1"

    def local_address(self, port: int) -> str:
        """HOST:PORT that reaches a gateway bound so from this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.bind_host, self.bind_host)  # noqa: S104 - not bound here
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
