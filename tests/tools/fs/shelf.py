"""The fs tools over one directory, with texts of an agent beside it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from goclaw.domain.chat import ToolCall
from goclaw.domain.run import RunKind
from goclaw.security.paths import Workspace
from goclaw.tools.context_files import ContextFiles, Kept, OnlyFiles, Stored
from goclaw.tools.fs.maps import Maps
from goclaw.tools.ledger import ToolResult
from goclaw.tools.methods import Asker, Methods
from goclaw.tools.pipeline import Toolbox
from goclaw.tools.tool import Tool, ToolContext, ToolFailed, collect, equipped

TOOLS = collect("goclaw.tools")
OWN = ("SOUL.md", "AGENTS.md", "MEMORY.md")


@dataclass
class Texts(ContextFiles):
    """An agent's texts in memory. It hints at TEAM.md, guards AGENTS.md, and lets nobody write in `closed`."""

    kept: dict[str, str] = field(default_factory=dict)
    closed: str = ""

    async def read(self, ctx: ToolContext, path: str) -> Kept | None:
        if path == "TEAM.md":
            return Kept("already in your prompt", exists=False)
        if not self._mine(path):
            return None
        if path not in self.kept and path.startswith("memory/"):
            return Kept(f"(memory file {path} does not exist yet)", exists=False)
        if path not in self.kept:
            raise ToolFailed("not_found", f"there is no {path}")
        return Kept(self.kept[path])

    async def write(self, ctx: ToolContext, path: str, text: str) -> Stored | None:
        if path == "AGENTS.md":
            raise ToolFailed("denied_policy", "this file is managed by the administrator")
        if not self._mine(path):
            return None
        before = self.kept.get(path, "")
        self.kept[path] = text
        return Stored(before if path.startswith("memory/") and before != text else "")

    async def listed(self, ctx: ToolContext, directory: str) -> tuple[tuple[str, int], ...]:
        prefix = f"{directory}/" if directory else ""
        return tuple((path, len(text)) for path, text in self.kept.items() if path.startswith(prefix))

    async def permit(self, ctx: ToolContext, path: str) -> None:
        if self.closed and path.startswith(self.closed):
            raise ToolFailed("denied_policy", "only file writers may write files in this group")

    def _mine(self, path: str) -> bool:
        return path in OWN or path.startswith("memory/")


class Shelf:
    def __init__(
        self, root: Path, texts: ContextFiles | None = None, *, channel: str = "", run_kind: RunKind = "chat", **of: Any
    ) -> None:
        self.workspace = Workspace(root, **of)
        asker = Asker(channel=channel)
        self.ctx = ToolContext(self.workspace, lambda: datetime.now(UTC), "", asker, run_kind=run_kind)
        self.tools = shelved(texts or OnlyFiles(), root.with_name(f"{root.name}-maps"))

    async def use(self, tool: str, **arguments: Any) -> ToolResult:
        return await Toolbox(self.tools, self.ctx).act(ToolCall(id="c", name=tool, arguments=arguments))

    async def died(self, tool: str, before: str, **arguments: Any) -> tuple[bool | None, str]:
        """What is found out about a call whose end nobody saw: whether it was made, and its result."""
        found = self.tools[tool]
        assert found.settle is not None
        settled = await found.settle(replace(self.ctx, again=True), asked(found, arguments), before)
        return settled.done, settled.text

    async def before(self, tool: str, **arguments: Any) -> str:
        found = self.tools[tool]
        assert found.before is not None
        return await found.before(self.ctx, asked(found, arguments))


def asked(tool: Tool, arguments: dict[str, Any]) -> Any:
    return tool.input(**arguments)


def shelved(texts: ContextFiles, maps: Path = Path("/nonexistent/maps")) -> dict[str, Tool]:
    return equipped(
        {name: tool for name, tool in TOOLS.items() if tool.group == "fs"},
        {ContextFiles: texts, Methods: None, Maps: Maps(maps)},
    )
