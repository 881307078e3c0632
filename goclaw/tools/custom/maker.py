"""A row as a tool: its template is filled, judged, asked about and run as any command. Contract: tools.md §14."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgspec

from goclaw.domain.approval import Simple
from goclaw.domain.chat import ToolSpec
from goclaw.security.box import Box, Place, SecretUnreadable
from goclaw.security.known import Known
from goclaw.stores.custom_tools import ENV_COLUMN, CustomTool
from goclaw.tools.approvals import Approvals
from goclaw.tools.custom.parameters import shown
from goclaw.tools.custom.template import read_template
from goclaw.tools.runtime.exec import LONGEST, Exec, answer_of, checked, wish
from goclaw.tools.runtime.host import opened, run
from goclaw.tools.runtime.rules import Rules
from goclaw.tools.tool import Answer, Effect, Tool, ToolContext, ToolFailed

GROUP = "custom"
MOST = 30_000  # characters of a result; tools.md §8
MARGIN = 60.0  # seconds beyond those of the command, and of an answer


@dataclass(frozen=True)
class Maker:
    """What all of them need."""

    rules: Rules
    approvals: Approvals
    box: Box
    known: Known

    def tool(self, row: CustomTool) -> Tool:
        parameters = shown(msgspec.json.decode(row.parameters))
        return Tool(
            name=row.name,
            group=GROUP,
            effect=Effect(row.effect_class),
            spec=ToolSpec(name=row.name, description=row.description, parameters=parameters),
            input=None,
            fn=partial(self._run, row),
            consent=partial(self._consent, row),
            timeout=row.timeout_seconds + LONGEST + MARGIN,  # an answer may take as long as the longest command
            most=MOST,
            rehearse=partial(self._filled, row),
        )

    def _filled(self, row: CustomTool, ctx: ToolContext, values: dict[str, Any]) -> str:
        """The command. Raises ToolFailed for one that is refused."""
        command = self._command(row, values)
        checked(_acknowledging(row, ctx), command, self.rules, self.approvals)
        return command

    def _command(self, row: CustomTool, values: dict[str, Any]) -> str:
        shapes = msgspec.json.decode(row.parameters)["properties"]
        return read_template(row.command).filled(values, shapes)

    async def _consent(self, row: CustomTool, ctx: ToolContext, ask: dict[str, Any]) -> None:
        self.rules.check_channel(ctx.asker)
        command = self._command(row, ask)
        commands, asks = checked(_acknowledging(row, ctx), command, self.rules, self.approvals)
        wanted = wish(ctx, Exec(command=command, working_dir=row.working_dir), commands, forced=asks)
        subject = f"{GROUP}/{row.name}"  # no program is called so
        named = msgspec.structs.replace(wanted, tool=row.name, commands=(Simple(subject, subject),))
        await self.approvals.ask(named)

    async def _run(self, row: CustomTool, ctx: ToolContext, ask: dict[str, Any]) -> Answer:
        command = self._filled(row, ctx, ask)
        secrets = self._secrets(row)
        env = {**self.rules.environment(ctx.workspace.root, ctx.asker.user_id), **secrets}
        place = await ctx.thread(opened, ctx.workspace, row.working_dir or ".")
        try:
            with self.known.lent(secrets.values()):
                ran = await run(command, place, env, row.timeout_seconds)
        finally:
            os.close(place)
        return answer_of(ran, row.timeout_seconds)

    def _secrets(self, row: CustomTool) -> dict[str, str]:
        if row.env is None:
            return {}
        try:
            secrets: dict[str, str] = self.box.unseal_object(row.env, Place(ENV_COLUMN, row.id))
        except SecretUnreadable:
            raise ToolFailed("unavailable", f"the environment of {row.name} cannot be opened; tell the user") from None
        return secrets


def _acknowledging(row: CustomTool, ctx: ToolContext) -> ToolContext:
    return replace(ctx, deny_groups_off=ctx.deny_groups_off | set(row.acknowledged_groups))
