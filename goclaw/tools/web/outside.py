"""What the web tools share: how far they may go, what an operator says of them, and what was found a moment ago.

The house makes one and hands it to every tool that names it (`equipped`).
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from goclaw.domain.access import MASTER_TENANT
from goclaw.security.allowance import allowance
from goclaw.security.ssrf import Guard, Refused, Resolve, lookup
from goclaw.settings.security import Door, Ssrf
from goclaw.settings.tools import Tools
from goclaw.tools.methods import Asker
from goclaw.tools.tool import ToolFailed
from goclaw.tools.web.cache import Cache
from goclaw.tools.web.hits import Hit
from goclaw.tools.web.page import Page

log = structlog.get_logger()


class Outside:
    """`own`: where our gateway and its database listen, which stays out of reach (security.md §4.1)."""

    def __init__(self, tools: Tools, ssrf: Ssrf, version: str, own: Iterable[Door] = ()) -> None:
        self.tools = tools
        self.version = version
        self.guard = Guard(
            resolve=_scripted(ssrf.test_hosts) if ssrf.test_hosts else lookup,
            allowed=allowance(ssrf.allow_hosts, ssrf.allow_cidrs, own),
        )
        self._resolve = self.guard.resolve
        self.pages: Cache[Page] = Cache()
        self.hits: Cache[tuple[Hit, ...]] = Cache()

    def vendors(self, *, private: bool) -> Guard:
        """For addresses of vendors. `private`: an operator wrote this one down."""
        return Guard(allow_private=private, resolve=self._resolve)


def refusal(refused: Refused, surface: str, asker: Asker) -> ToolFailed:
    """What a model hears of a refused address, after the operator's log did."""
    if refused.rule == "resolve":
        return ToolFailed("upstream_error", f"{refused.host[:253]} has no address, or none was found in time")
    tenant = {} if asker.tenant_id == MASTER_TENANT else {"tenant": asker.tenant_id}
    found = {"class": refused.rule, "host": refused.host[:253], "profile": "model", "surface": surface}
    log.warning("security.ssrf_blocked", **found, agent=asker.agent_key, **tenant)
    return ToolFailed("denied_policy", f"{refused}; only public http and https addresses can be read")


def _scripted(answers: dict[str, list[list[str]]]) -> Resolve:
    """For tests: each lookup of a name takes its next list, and the last one stays. Other names are looked up."""
    waiting = {name: list(lists) for name, lists in answers.items()}

    async def resolve(host: str) -> list[str]:
        if host not in waiting:
            return await lookup(host)
        lists = waiting[host]
        return (lists.pop(0) if len(lists) > 1 else lists[0]) if lists else []

    return resolve
