"""The web tools as one user's agent has them; no house behind them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.chat import ToolCall
from goclaw.security.paths import Workspace
from goclaw.settings.security import Door, Ssrf
from goclaw.settings.tools import Tools
from goclaw.tools.ledger import ToolResult
from goclaw.tools.methods import Asker
from goclaw.tools.pipeline import Toolbox
from goclaw.tools.tool import Answer, Tool, ToolContext, collect, equipped
from goclaw.tools.web.outside import Outside

TOOLS = {name: tool for name, tool in collect("goclaw.tools").items() if tool.group == "web"}


class Reader:
    def __init__(
        self, tools: Tools | None = None, *, own: set[Door] | None = None, stopped: str = "", **ssrf: Any
    ) -> None:
        self.outside = Outside(tools or Tools(), Ssrf(**ssrf), "0", own or ())
        self.tools = equipped(TOOLS, {Outside: self.outside})
        self.answers: list[Answer] = []
        self.host = lambda host: f"{host} is stopped" if stopped and host == stopped else ""

    async def use(
        self, tool: str, user: str = "lan", *, rules: dict[str, Any] | None = None, **arguments: Any
    ) -> ToolResult:
        settings = {tool: msgspec.Raw(msgspec.json.encode(rules))} if rules else {}
        asker = Asker(MASTER_TENANT, user, "a", "default", "agent:default:x")
        ctx = ToolContext(
            Workspace(Path("/nonexistent")), lambda: datetime.now(UTC), "", asker, settings=settings, host=self.host
        )
        box = Toolbox(self.tools, ctx, finish=(self._keep,))
        return await box.act(ToolCall(id="c", name=tool, arguments=arguments))

    async def _keep(self, tool: Tool, ctx: ToolContext, answer: Answer) -> Answer:
        self.answers.append(answer)
        return answer
