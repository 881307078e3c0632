"""The policy file as a policy: every mistake in it, each with its line. Contract: security.md §9.1."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from ipaddress import ip_address
from pathlib import PurePosixPath
from typing import Literal

import idna

from goclaw.security.plain_yaml import Malformed, Mistake, Node, parse
from goclaw.security.policy import ANY, AllowedPath, McpRule, Policy, Rules

KNOWN = frozenset(  # besides `tools.<name of a tool>`
    {
        *("tools.mcp", "tools.custom", "tools.price_comparison", "tools.read_url", "tools.spawn_task"),
        *("tools.send_message", "tools.read_messages", "tools.memory_read", "acp.read", "acp.mutate"),
        *("wasm.http.get", "wasm.kv.set", "wasm.kv.get", "legacy.run", "legacy.dangerous", "skill.inject"),
        *("agent.create", "agent.remove", "node.invoke", "cron.command", "hook.command"),
    }
)
FAMILY = re.compile(r"(?:tools|acp|wasm(?:\.http|\.kv)?|legacy|skill|agent|node|cron|hook)\.\*")
KEYS = ("allow_capabilities", "allow_domains", "allow_paths", "allow_loopback", "mcp")
LABEL = re.compile(r"(?!-)[\w-]{1,63}(?<!-)")
SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")
MOST = 10_000  # entries of one list


class PolicyInvalid(ValueError):
    """The file says nothing that could be enforced."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("; ".join(map(str, mistakes)))
        self.mistakes = mistakes


def read(text: str, tools: Collection[str]) -> Policy:
    """The policy in a text; an empty text denies everything. `tools` are the names there are.

    Raises PolicyInvalid with all mistakes.
    """
    try:
        root = parse(text)
    except Malformed as malformed:
        raise PolicyInvalid(malformed.mistakes) from None
    reader = _Reader(frozenset(name.casefold() for name in tools))
    policy = reader.policy(root)
    if reader.mistakes:
        raise PolicyInvalid(sorted(reader.mistakes, key=lambda mistake: mistake.line))
    return policy


class _Reader:
    def __init__(self, tools: Collection[str]) -> None:
        self.tools = tools
        self.mistakes: list[Mistake] = []

    def policy(self, root: Node) -> Policy:
        members = self._members(root, (*KEYS, "tenants"), "the policy")
        tenants = {}
        for slug, section in self._map(members.pop("tenants", None), "tenants").items():
            if not SLUG.fullmatch(slug):
                self._wrong(section, f"{slug[:80]!r} is no slug of a tenant")
            tenants[slug] = self._rules(self._members(section, KEYS, f"tenants.{slug}"))
        return Policy(rules=self._rules(members), tenants=tenants)

    def _rules(self, members: dict[str, Node]) -> Rules:
        mcp = self._members(members.get("mcp"), ("default", "rules"), "mcp")
        domains, hosts = self._domains(members.get("allow_domains"))
        return Rules(
            capabilities=self._capabilities(members.get("allow_capabilities")),
            domains=domains,
            hosts=hosts,
            paths=self._paths(members.get("allow_paths")),
            loopback=self._flag(members.get("allow_loopback")),
            mcp_default=self._default(mcp.get("default")),
            mcp_rules=tuple(self._mcp_rules(mcp.get("rules"))),
        )

    def _capabilities(self, node: Node | None) -> frozenset[str]:
        found = set()
        for name, at in self._names(node, "allow_capabilities"):
            tool = name.removeprefix("tools.")
            if name in KNOWN or FAMILY.fullmatch(name) or (tool != name and tool in self.tools):
                found.add(name)
            else:
                self._wrong(at, f"unknown capability {name[:80]!r}")
        return frozenset(found)

    def _domains(self, node: Node | None) -> tuple[frozenset[str], frozenset[str]]:
        found, hosts = set(), set()
        for name, at in self._names(node, "allow_domains"):
            try:
                hosts.add(_host(name))
                found.add(name)
            except ValueError as error:
                self._wrong(at, f"bad domain {name[:80]!r}: {error}")
        return frozenset(found), frozenset(hosts)

    def _paths(self, node: Node | None) -> tuple[AllowedPath, ...]:
        found: dict[tuple[str, str], AllowedPath] = {}
        for one in self._list(node, "allow_paths"):
            mode: Literal["rw", "ro"] = "rw"
            at = one
            if isinstance(one.value, dict):
                members = self._members(one, ("path", "mode"), "allow_paths")
                at = members.get("path", one)
                if (wanted := members.get("mode")) is not None:
                    if wanted.value not in ("rw", "ro"):
                        self._wrong(wanted, "mode: expected ro or rw")
                    mode = "ro" if wanted.value == "ro" else "rw"
            path = at.value.strip() if isinstance(at.value, str) else ""
            if not path.startswith("/") or ".." in PurePosixPath(path).parts or "\x00" in path:
                self._wrong(at, "expected an absolute path without ..")
                continue
            path = "/" + "/".join(step for step in path.split("/") if step not in ("", "."))
            found[path, mode] = AllowedPath(path=path, mode=mode)
        return tuple(one for _, one in sorted(found.items()))

    def _mcp_rules(self, node: Node | None) -> Iterator[McpRule]:
        for one in self._list(node, "mcp.rules"):
            members = self._members(one, ("agent", "server", "tools"), "mcp.rules")
            if missing := [key for key in ("agent", "server", "tools") if key not in members]:
                self._wrong(one, f"mcp.rules: {', '.join(missing)} is missing")
                continue
            agent, server = self._name(members["agent"], "agent"), self._name(members["server"], "server")
            tools = sorted({name for name, _ in self._names(members["tools"], "tools")})
            yield McpRule(agent=agent, server=server, tools=tuple(tools))

    def _default(self, node: Node | None) -> Literal["deny", "allow"]:
        word = node.value.strip().casefold() if node is not None and isinstance(node.value, str) else ""
        if node is not None and word not in ("deny", "allow"):
            self._wrong(node, "mcp.default: expected deny or allow")
        return "allow" if word == "allow" else "deny"

    def _flag(self, node: Node | None) -> bool:
        if node is not None and not isinstance(node.value, bool):
            self._wrong(node, "allow_loopback: expected true or false")
        return node is not None and node.value is True

    def _names(self, node: Node | None, key: str) -> Iterator[tuple[str, Node]]:
        for one in self._list(node, key):
            if name := self._name(one, key):
                yield name, one

    def _name(self, node: Node, key: str) -> str:
        if isinstance(node.value, str) and (name := node.value.strip().casefold()):
            return name
        self._wrong(node, f"{key}: expected a name")
        return ""

    def _list(self, node: Node | None, key: str) -> list[Node]:
        if node is None or node.value is None:
            return []
        if not isinstance(node.value, list) or len(node.value) > MOST:
            self._wrong(node, f"{key}: expected a list of at most {MOST} entries")
            return []
        return node.value

    def _map(self, node: Node | None, key: str) -> dict[str, Node]:
        if node is None or node.value is None:
            return {}
        if not isinstance(node.value, dict):
            self._wrong(node, f"{key}: expected a map")
            return {}
        return node.value

    def _members(self, node: Node | None, known: Collection[str], key: str) -> dict[str, Node]:
        members = dict(self._map(node, key))
        for name in [name for name in members if name not in known]:
            self._wrong(members.pop(name), f"unknown key {name[:80]!r} in {key}")
        return members

    def _wrong(self, at: Node, text: str) -> None:
        self.mistakes.append(Mistake(at.line, text))


def _host(name: str) -> str:
    """A listed domain as hosts are compared. Raises ValueError with what is wrong."""
    if name == ANY:
        return name
    plain = name.removesuffix(".")
    for sign, what in (("://", "no scheme"), ("/", "no path"), ("*", "no *; a domain has its sub-domains")):
        if sign in plain:
            raise ValueError(f"expected {what}")
    try:
        return str(ip_address(plain[1:-1] if plain.startswith("[") and plain.endswith("]") else plain))
    except ValueError:
        pass
    if ":" in plain:
        raise ValueError("expected no port")
    if not all(LABEL.fullmatch(label) for label in plain.split(".")) or len(plain) > 253:
        raise ValueError("expected a host name")
    if re.match(r"\d", plain.rpartition(".")[2]):  # no name ends so
        raise ValueError("expected no part of an address")
    try:
        return plain if plain.isascii() else idna.encode(plain, uts46=True).decode()
    except idna.IDNAError:
        raise ValueError("expected a host name") from None
