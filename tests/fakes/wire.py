"""A breakable wire to PostgreSQL: a unix socket that passes bytes on until it is told not to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import trio
from psycopg.conninfo import conninfo_to_dict, make_conninfo

SOCKET = ".s.PGSQL.5432"


class Wire:
    """`dsn` leads through the wire to the database it was made for."""

    def __init__(self, dsn: str, directory: Path, nursery: trio.Nursery) -> None:
        self.dsn = make_conninfo(dsn, host=str(directory))
        self.break_commit: Literal["", "before", "after"] = ""  # the server has seen it; breaks once
        self.broken = 0  # commits
        self.hold = b""  # what contains this travels only after another connection came and went
        self._target = f"{conninfo_to_dict(dsn)['host']}/{SOCKET}"
        self._path = directory / SOCKET
        self._nursery = nursery
        self._accepting = trio.CancelScope()
        self._connections: set[trio.CancelScope] = set()
        self._one_ended = trio.Event()

    async def mend(self) -> None:
        """Accept connections."""
        listener = trio.socket.socket(trio.socket.AF_UNIX)
        await listener.bind(str(self._path))
        listener.listen()
        self._accepting = trio.CancelScope()
        self._nursery.start_soon(self._accept, trio.SocketListener(listener), self._accepting)

    def refuse(self) -> None:
        """Accept no more connections; those there are live on."""
        self._path.unlink()
        self._accepting.cancel()

    def cut(self) -> None:
        self.refuse()
        for connection in self._connections:
            connection.cancel()

    async def _accept(self, listener: trio.SocketListener, scope: trio.CancelScope) -> None:
        with scope:
            async with listener:
                while True:
                    self._nursery.start_soon(self._carry, await listener.accept())

    async def _carry(self, client: trio.SocketStream) -> None:
        broke = ""

        async def up() -> None:
            nonlocal broke
            async for chunk in client:
                if self.break_commit and b"COMMIT" in chunk:
                    broke = self.break_commit
                    self.broken += 1
                if self.hold and self.hold in chunk:
                    await self._one_ended.wait()
                if broke != "before":
                    await server.send_all(chunk)
                else:
                    break
            connection.cancel()

        async def down() -> None:
            async for chunk in server:
                if broke:
                    break
                await client.send_all(chunk)
            connection.cancel()

        async with client, await trio.open_unix_socket(self._target) as server:
            with trio.CancelScope() as connection:
                self._connections.add(connection)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(up)
                    nursery.start_soon(down)
            self._connections.discard(connection)
        self._one_ended.set()


@asynccontextmanager
async def open_wire(dsn: str, directory: Path) -> AsyncIterator[Wire]:
    async with trio.open_nursery() as nursery:
        wire = Wire(dsn, directory, nursery)
        await wire.mend()
        yield wire
        nursery.cancel_scope.cancel()
