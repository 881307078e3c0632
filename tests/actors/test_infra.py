"""The watch over the embedded server. Contract: data-model.md §20."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio

from goclaw.actors.infra import LOG_LOOK, EmbeddedDatabase
from goclaw.runtime.child import child
from goclaw.runtime.system import open_system
from goclaw.stores.embedded import LOG_LIMIT, EmbeddedServer
from tests.runtime.house import NoDatabase


class Quiet(EmbeddedServer):
    """A server that runs and says nothing; its log is a file like any other."""

    async def exited(self) -> None:
        await trio.sleep_forever()


async def test_the_log_of_a_running_server_is_kept_small(tmp_path: Path, autojump_clock: Any) -> None:
    server = Quiet(tmp_path)
    server.log_path.parent.mkdir()
    server.log_path.touch()

    async with open_system(NoDatabase()) as system:
        await system.start(child("", EmbeddedDatabase, server))
        for _ in range(4):
            with server.log_path.open("ab") as log:
                log.truncate(LOG_LIMIT)
            await trio.sleep(LOG_LOOK + 1)
            assert server.log_path.stat().st_size == 0
        server.log_path.unlink()
        (server.log_path.parent / "postgres.log.1").unlink()
        (server.log_path.parent / "postgres.log.1").mkdir()
        server.log_path.write_bytes(bytes(LOG_LIMIT))
        await trio.sleep(LOG_LOOK + 1)
        assert server.log_path.stat().st_size == LOG_LIMIT, "what cannot be copied is not emptied"
        assert not system.ended.is_set()

    assert len(list(server.log_path.parent.iterdir())) == 3
