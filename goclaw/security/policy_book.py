"""The policy in force: one reference, swapped whole. Every answer comes from memory. Contract: security.md §9."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct

from goclaw.domain.access import MASTER_TENANT
from goclaw.security.policy import AllowedPath, Policy, Rules

MASTER = {MASTER_TENANT: "master"}
NOTHING = Rules()  # what a tenant may whose name we do not know yet
REMEMBERED = 64  # editions that running runs may have begun with


class Decision(Struct, frozen=True, kw_only=True):
    """`version` is the run's, `current` the newest; None: no policy was, or is, in force."""

    allowed: bool
    reason: str = ""
    version: str | None = None
    current: str | None = None


class Edition(NamedTuple):
    policy: Policy
    version: str


class PolicyBook:
    """Without an edition no policy is in force, and the tool policy decides alone."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.edition: Edition | None = None
        self._recent: OrderedDict[str, Edition] = OrderedDict()
        self.slugs: Mapping[str, str] = MASTER  # tenant id → slug
        if policy is not None:
            self.swap(policy)

    @property
    def version(self) -> str | None:
        return self.edition.version if self.edition else None

    def swap(self, policy: Policy) -> None:
        self.edition = edition = Edition(policy, policy.version)
        self._recent[edition.version] = edition
        while len(self._recent) > REMEMBERED:
            self._recent.popitem(last=False)

    def pin(self, tenant_id: str, version: str | None = None) -> PinnedPolicy:
        """`version`: the run's, if it began with one. One that nobody remembers gives way to the current one."""
        return PinnedPolicy(self, tenant_id, self._recent.get(version or "", self.edition))

    def rules(self, edition: Edition, tenant_id: str) -> Rules:
        slug = self.slugs.get(tenant_id)
        if slug is None and edition.policy.tenants:
            return NOTHING  # one of its sections may be this tenant's
        return edition.policy.of(slug or "")


class PinnedPolicy:
    """What a run may: a capability must be allowed by the edition it began with and by the current one."""

    def __init__(self, book: PolicyBook, tenant_id: str, edition: Edition | None) -> None:
        self._book = book
        self._tenant_id = tenant_id
        self._edition = edition

    @property
    def version(self) -> str | None:
        return self._edition.version if self._edition else None

    @property
    def paths(self) -> tuple[AllowedPath, ...]:
        """In all editions that count, in the narrower mode of them."""
        first, *rest = self._rules() or (NOTHING,)
        found = first.paths
        for rules in rest:
            modes = {one.path: one.mode for one in rules.paths}
            found = tuple(
                AllowedPath(path=one.path, mode="ro" if "ro" in (one.mode, modes[one.path]) else "rw")
                for one in found
                if one.path in modes
            )
        return found

    @property
    def loopback(self) -> bool:
        rules = self._rules()
        return bool(rules) and all(one.loopback for one in rules)

    def capability(self, name: str) -> Decision:
        return self._decided([one.allows(name) for one in self._rules()], name)

    def tool(self, name: str, *, custom: bool = False) -> Decision:
        names = [f"tools.{name.casefold()}", *(["tools.custom"] if custom else [])]
        return self._decided([any(map(one.allows, names)) for one in self._rules()], names[0])

    def mcp(self, agent: str, server: str, tool: str) -> Decision:
        allowed = [one.allows("tools.mcp") and one.allows_mcp(agent, server, tool) for one in self._rules()]
        return self._decided(allowed, f"tools.mcp {server}/{tool}")

    def host(self, host: str) -> Decision:
        return self._decided([one.allows_host(host) for one in self._rules()], host)

    def _rules(self) -> list[Rules]:
        """Of the run's edition and of the current one, as far as they are."""
        current = self._book.edition
        editions = (self._edition, current if current is not self._edition else None)
        return [self._book.rules(one, self._tenant_id) for one in editions if one is not None]

    def _decided(self, allowed: list[bool], what: str) -> Decision:
        reason = "" if all(allowed) else f"the policy does not allow {what}"
        return Decision(allowed=not reason, reason=reason, version=self.version, current=self._book.version)
