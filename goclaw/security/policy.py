"""The policy: what agents may do at all, whatever else allows it. Values only; `policy_text` reads them from a file.

What is not allowed is denied. Contract: security.md §9.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

SECOND_NAMES = {  # of capabilities that files of another product name; security.md §9.1
    "tools.web_fetch": ("tools.read_url",),
    "tools.spawn": ("tools.spawn_task",),
    "tools.team_message": ("tools.send_message", "tools.read_messages"),
    "tools.memory_get": ("tools.memory_read",),
    "tools.memory_search": ("tools.memory_read",),
}
ANY = "*"


class AllowedPath(Struct, frozen=True, kw_only=True):
    """A directory file tools may use besides the workspace. `path` is absolute."""

    path: str
    mode: Literal["rw", "ro"] = "rw"


class McpRule(Struct, frozen=True, kw_only=True):
    agent: str
    server: str
    tools: tuple[str, ...]


class Rules(Struct, frozen=True, kw_only=True):
    """What is allowed: to the whole gateway, or to one tenant instead. Names are casefolded."""

    capabilities: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()  # as written …
    hosts: frozenset[str] = frozenset()  # … and in ASCII, to compare with
    paths: tuple[AllowedPath, ...] = ()
    loopback: bool = False
    mcp_default: Literal["deny", "allow"] = "deny"
    mcp_rules: tuple[McpRule, ...] = ()

    def allows(self, capability: str) -> bool:
        """Whether it is listed by its name, an older one, or a family such as `tools.*`."""
        names = (capability, *SECOND_NAMES.get(capability, ()))
        return any(name in self.capabilities or _families(name) & self.capabilities for name in names)

    def allows_host(self, host: str) -> bool:
        """Whether `host` (ASCII) or a domain above it is listed."""
        if ANY in self.hosts:
            return True
        steps = host.casefold().removesuffix(".").split(".")
        return any(".".join(steps[start:]) in self.hosts for start in range(len(steps)))

    def allows_mcp(self, agent: str, server: str, tool: str) -> bool:
        """The rule that fits best decides alone, the first of equals; `default` where none fits (§9.3)."""
        agent, server, tool = (name.strip().casefold() for name in (agent, server, tool))
        best, chosen = -1, None
        for rule in self.mcp_rules:
            if rule.agent in (agent, ANY) and rule.server in (server, ANY):
                score = (4 if rule.agent == agent else 1) + (2 if rule.server == server else 0)
                if score > best:
                    best, chosen = score, rule
        if chosen is None:
            return self.mcp_default == "allow"
        return tool in chosen.tools or ANY in chosen.tools

    def canonical(self) -> dict[str, Any]:
        return {
            "allow_capabilities": sorted(self.capabilities),
            "allow_domains": sorted(self.domains),
            "allow_loopback": self.loopback,
            "allow_paths": [{"mode": one.mode, "path": one.path} for one in self.paths],
            "mcp": {
                "default": self.mcp_default,
                "rules": [{"agent": r.agent, "server": r.server, "tools": list(r.tools)} for r in self.mcp_rules],
            },
        }


class Policy(Struct, frozen=True, kw_only=True):
    """One version of the file."""

    rules: Rules = Rules()
    tenants: Mapping[str, Rules] = field(default_factory=dict)  # by slug

    def of(self, tenant: str) -> Rules:
        """The rules of a tenant: its own section, else everybody's."""
        return self.tenants.get(tenant, self.rules)

    def canonical(self) -> dict[str, Any]:
        """The same for files that mean the same. Tenants are named only where there are some."""
        tenants = {slug: rules.canonical() for slug, rules in sorted(self.tenants.items())}
        return self.rules.canonical() | ({"tenants": tenants} if tenants else {})

    @property
    def version(self) -> str:
        text = msgspec.json.encode(self.canonical(), order="sorted")
        return "policy-" + hashlib.sha256(text).hexdigest()[:16]


def difference(old: Policy | None, new: Policy) -> dict[str, list[str]]:
    """What a reload adds and removes, for those who hear of it: `capabilities`, `domains`, `paths`, and other keys."""
    before, after = old or Policy(), new
    names: dict[str, tuple[set[str], set[str]]] = {
        "capabilities": (set(before.rules.capabilities), set(after.rules.capabilities)),
        "domains": (set(before.rules.domains), set(after.rules.domains)),
        "paths": (
            {f"{p.mode}:{p.path}" for p in before.rules.paths},
            {f"{p.mode}:{p.path}" for p in after.rules.paths},
        ),
    }
    found = {
        name: [f"+{one}" for one in sorted(b - a)] + [f"-{one}" for one in sorted(a - b)]
        for name, (a, b) in names.items()
    }
    first, second = before.canonical(), after.canonical()
    found["changed"] = [key for key in ("allow_loopback", "mcp", "tenants") if first.get(key) != second.get(key)]
    return {name: changes for name, changes in found.items() if changes}


def _families(capability: str) -> set[str]:
    """`wasm.http.*` and `wasm.*` for `wasm.http.get`."""
    steps = capability.split(".")
    return {".".join(steps[:end]) + ".*" for end in range(1, len(steps))}
