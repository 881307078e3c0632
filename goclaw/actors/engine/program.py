"""One provider whose models are programs: they run in this actor's own task, and none outlives it.

Address   /engine/providers/{name}
Contract  providers.md §7.1, §7.2
"""

from __future__ import annotations

from goclaw.actors.engine.provider import ProviderActor
from goclaw.providers.provider import Runs
from goclaw.runtime.actor import Context


class ProgramActor(ProviderActor):
    async def live(self, ctx: Context) -> None:
        client = self._client()
        assert isinstance(client, Runs)
        await client.live()
