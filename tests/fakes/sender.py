"""A process that sends what is in the outbox and ends when nothing waits: `python -m tests.fakes.sender`.

Arguments: DSN, port of the platform, name of a courier, whether the platform takes nonces. `SENDER_CRASH_AT` names the
point where it dies.
"""

from __future__ import annotations

import os
import sys
from functools import partial

import trio

from goclaw.actors.delivery.outbox import delivery
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.ids import new_id
from goclaw.runtime import crashpoint
from goclaw.runtime.child import child
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import open_system
from goclaw.stores import outbox
from goclaw.stores.database import open_database
from tests.fakes import platform


async def main(dsn: str, port: str, courier: str, nonces: str) -> None:
    there = platform.Platform(nonces=bool(int(nonces)))
    there.port = int(port)
    couriers = {(MASTER_TENANT, "test-main"): getattr(platform, courier)(there)}
    tree = child("delivery", partial(delivery, alone=True), new_id(), couriers)
    async with open_database(dsn, pool_min=1) as database, open_system(database) as system:
        await system.start(child("", lambda: Supervisor(children=[tree])))
        while await database.run(outbox.waiting):  # noqa: ASYNC110 - only the table tells
            await trio.sleep(0.02)


if __name__ == "__main__":
    if os.environ["SENDER_CRASH_AT"]:
        crashpoint.arm(os.environ["SENDER_CRASH_AT"])
    trio.run(main, *sys.argv[1:])
