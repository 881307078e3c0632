"""A house whose model does what it is told in JSON, so that its runs have subagents.

call {"task": …}        calls spawn with that, then says what the tool said
call then !hold-1 {…}   … and then does as the vendor of the other tests
use {"action": …}       calls subagents
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from goclaw.actors.engine.hooks import HookWorks
from goclaw.actors.orch.desk import Children
from goclaw.actors.orch.tree import orch
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.cluster import Ownership
from goclaw.domain.events import of_admins
from goclaw.runtime.address import Address
from goclaw.runtime.child import child
from goclaw.runtime.inbox import inbox
from goclaw.settings.orchestration import Announce, Orchestration, Subagents
from goclaw.settings.providers import Provider, Providers
from goclaw.settings.queue import Lanes, Queue
from goclaw.stores.database import Database
from goclaw.tools.subagents import Subagents as Port
from goclaw.tools.tool import Tool, collect, equipped
from tests.actors.house import KEY, house
from tests.actors.talk import Talk
from tests.e2e.gateway import ObedientVendor, VendorPlace
from tests.fakes.scripted import said
from tests.fakes.vendor import DONE, END, HEAD, Ask, chunked, encode, event

RULES = Orchestration(announce=Announce(debounce_ms=50))
TOOLS = {"call": "spawn", "use": "subagents"}


class Boss(ObedientVendor):
    async def _complete(self, to: Any, ask: Ask) -> None:
        place = max(n for n, message in enumerate(ask.messages) if message.role == "user")
        text = ask.last("user")
        first = text.partition(" ")[0]
        results = [str(message.content) for message in ask.messages[place:] if message.role == "tool"]
        if text.startswith("[Results of your subagents]"):
            self.asked.append(text)
            return await to.send_all(HEAD + b"".join(said(ask.model, ["told: ", *text.splitlines()[2:4]])) + END)
        if first not in TOOLS:
            return await super()._complete(to, ask)
        head, _, arguments = text.partition("{")
        if not results:
            function = {"name": TOOLS[first], "arguments": "{" + arguments}
            call = {"index": 0, "id": "call_1", "type": "function", "function": function}
            pieces = [event(ask.model, {"tool_calls": [call]}), event(ask.model, {}, "tool_calls"), DONE]
            return await to.send_all(HEAD + b"".join(map(chunked, pieces)) + END)
        if "!hold-1" in head and len(ask.messages) - place <= 3:
            return await self._hold(to, ask.model, ["working "], "on")
        await to.send_all(HEAD + b"".join(said(ask.model, [results[-1]])) + END)


def call(**arguments: Any) -> str:
    return "call " + encode(arguments).decode()


def use(**arguments: Any) -> str:
    return "use " + encode(arguments).decode()


def spoken(content: str) -> Any:
    """What a tool said, as the model repeated it."""
    return msgspec.json.decode(content)


class Later:
    """The system, for what is made before it is opened."""

    system: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.system, name)


@asynccontextmanager
async def bossing(
    database: Database,
    tmp_path: Path,
    *,
    limits: Subagents = Subagents(),  # noqa: B008 - frozen
    rules: Orchestration = RULES,
    lanes: Lanes = Lanes(),  # noqa: B008 - frozen
    hooks: HookWorks | None = None,
) -> AsyncIterator[Talk]:
    place = VendorPlace(Boss)
    row = Provider(api_base=f"http://127.0.0.1:{place.port}/v1", models=("echo",))
    later = Later()
    tools: dict[str, Tool] = equipped(
        {name: tool for name, tool in collect("goclaw.tools.sessions").items() if Port in tool.needs.values()},
        {Port: Children(later, limits, rules, hooked=hooks is not None)},  # type: ignore[arg-type]  # it will be one
    )
    branch = child("orch", orch, limits, rules, Ownership())
    try:
        async with (
            place.open() as vendor,
            house(
                database,
                tmp_path,
                Queue(lanes=lanes),
                Providers(named={"fake": row}),
                tools,
                more=[branch],
                hooks=hooks,
            ) as system,
        ):
            later.system = system
            talk = Talk(database, system, vendor, KEY)
            with inbox(system, Address("edge", "http", "ear"), "Ear", talk.hear) as ear:
                ear.join(of_admins(MASTER_TENANT))
                yield talk
    finally:
        place.close()
