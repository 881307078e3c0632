"""Which domains agents may read, before any name is looked up. Contract: tools.md §3.3, §11."""

from __future__ import annotations

from goclaw.settings.web import WebFetch
from goclaw.tools.tool import ToolFailed


def check(host: str, *policies: WebFetch) -> None:
    """Every policy must agree. Raises ToolFailed."""
    for policy in policies:
        if any(_covers(domain, host) for domain in policy.blocked_domains):
            raise ToolFailed("denied_policy", f"the operator blocks {host[:253]}; use another source")
        if policy.policy == "allowlist" and not any(_covers(domain, host) for domain in policy.allowed_domains):
            raise ToolFailed("denied_policy", f"{host[:253]} is not among the domains the operator allows")


def _covers(domain: str, host: str) -> bool:
    """`x.y` is itself alone, `*.x.y` all below it and not itself."""
    domain, host = domain.strip().lower().removesuffix("."), host.lower().removesuffix(".")
    return host.endswith(domain[1:]) and host != domain[2:] if domain.startswith("*.") else host == domain
