"""Opens the house in order and closes it in reverse.

Start sequence: config-cli.md §10. Shutdown: config-cli.md §11, supervision.md §14.
"""

from __future__ import annotations

import errno
import gc
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from functools import partial

import structlog
import trio

from goclaw import __version__
from goclaw.app.database import open_stores
from goclaw.app.house import (
    begin_policy,
    hold,
    membership,
    node_name,
    open_audit,
    outside_of,
    policy_of,
    things_of,
    with_key,
)
from goclaw.app.shutdown import drain_on_signal, end_without_lease, restart
from goclaw.app.tree import tree
from goclaw.domain.address import CONFIG, POLICY
from goclaw.domain.config import Reload
from goclaw.domain.errors import StartupFatal
from goclaw.domain.ids import new_id
from goclaw.domain.policy import ReloadPolicy
from goclaw.edge.door import reserve
from goclaw.edge.tree import Doorway
from goclaw.operations.builtin_tools import rows_of
from goclaw.operations.context import House
from goclaw.runtime import crashpoint
from goclaw.runtime.again import begin_again
from goclaw.runtime.child import child
from goclaw.runtime.system import open_system
from goclaw.security.confine import unreadable
from goclaw.security.estop import Brake
from goclaw.settings import logs
from goclaw.settings.instance import InstanceLock, instance_lock
from goclaw.settings.load import Loaded, undecided
from goclaw.settings.onboard import onboard
from goclaw.settings.settings import Settings
from goclaw.settings.writer import ConfigFile
from goclaw.stores import builtin_tools
from goclaw.tools.runtime.rules import hidden
from goclaw.tools.tool import collect as collect_tools
from goclaw.tools.tool import equipped
from goclaw.tools.web.outside import Outside

WITHOUT_LEASE = 75  # exit code: other nodes have taken our place, or may have (durability.md §12.5)
AGAIN = -1  # no exit code: somebody asked for a restart
ESCALATED = 70  # exit code: the root gave up, and the init system starts a clean one (supervision.md §8.3)
GENERATIONS = (50_000, 50, 1000)  # garbage collector thresholds; supervision.md §10.1 V7

log = structlog.get_logger()


def run(loaded: Loaded, json_logs: bool, tools: Sequence[str] = ("goclaw.tools",)) -> int:
    """Run the gateway until a signal or the root's end, and return the exit code. Raises StartupFatal.

    `tools` are the packages whose tools agents get.
    """
    if loaded.crash_at:
        crashpoint.arm(loaded.crash_at)
    unreadable()
    logs.configure(loaded.settings.logging, json=json_logs)
    with instance_lock(loaded.settings.data_dir) as lock:
        first = loaded.origins["gateway.token"] == "default"
        loaded = undecided(onboard(loaded))
        if first:
            begin_policy(loaded.settings.policy.file)
        for warning in loaded.warnings:
            log.warning("config.warning", text=warning)
        try:
            code = trio.run(_live, loaded, lock, not json_logs, tools)
        except BaseExceptionGroup as group:
            raise _only(group) from None
    if code == AGAIN:
        begin_again()
    return code


async def _live(loaded: Loaded, lock: InstanceLock, terminal: bool, packages: Sequence[str]) -> int:
    settings = loaded.settings
    began = trio.current_time()
    sockets = reserve(settings.gateway.bind_host, settings.gateway.port)
    _make_workspace(settings)
    with (
        trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals,
        trio.open_signal_receiver(signal.SIGHUP) as hangups,
    ):
        async with open_stores(settings) as (database, server), open_system(database) as system:
            loaded, box = with_key(loaded)
            tools = collect_tools(*packages)
            name = node_name(settings, sockets[0].getsockname()[1])
            count = len(tools)
            house = House(
                loaded.settings, system, __version__, new_id(), count, loaded.production, node_name=name, box=box
            )
            house.auth_base = loaded.auth_base
            house.config, house.restart = ConfigFile(loaded), partial(restart, house)
            house.audit = await open_audit(loaded, database, house)
            house.policy = policy_of(loaded.settings.policy.file, tools)
            house.ownership.alone = house.embedded
            house.brake = Brake(loaded.settings.data_dir / "estop.json", partial(hold, house.ownership))
            outside = await outside_of(loaded.settings, sockets[0].getsockname()[1])
            tools = {name: tool for name, tool in tools.items() if not hidden(name, settings.tools)}
            things = {**things_of(house), Outside: outside}
            house.builtin = equipped(tools, things)
            await database.run(builtin_tools.fill, tools=rows_of(house.builtin))
            doorway = Doorway(house, sockets)
            gave_up = trio.Event()
            me = membership(house, f"http://{doorway.address}", gave_up)
            await system.start(child("", tree, loaded, house, box, things, database, server, doorway, me))
            gc.set_threshold(*GENERATIONS)
            gc.freeze()
            lock.announce(doorway.address)
            url = f"http://{doorway.address}"
            log.info("gateway.ready", address=url, seconds=round(trio.current_time() - began, 3))
            if terminal:  # a service's output is kept by others, and the token is a secret
                _greet(loaded, url)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(drain_on_signal, signals, house, doorway)
                nursery.start_soon(end_without_lease, gave_up, house)
                nursery.start_soon(_reload_on_hangup, hangups, house)
                await system.ended.wait()
                nursery.cancel_scope.cancel()
            if gave_up.is_set():
                return WITHOUT_LEASE
            return AGAIN if house.restarting else 0 if house.draining else ESCALATED


async def _reload_on_hangup(hangups: AsyncIterator[int], house: House) -> None:
    async for _ in hangups:
        house.system.tell(CONFIG, Reload())
        house.system.tell(POLICY, ReloadPolicy())


def _only(group: BaseExceptionGroup) -> BaseException:
    """The one exception in nested groups; nurseries wrap even a lone one."""
    inside: BaseException = group
    while isinstance(inside, BaseExceptionGroup) and len(inside.exceptions) == 1:
        inside = inside.exceptions[0]
    return inside


def _make_workspace(settings: Settings) -> None:
    place = settings.agents.defaults.workspace
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        hint = "free some space" if error.errno == errno.ENOSPC else "set agents.defaults.workspace"
        raise StartupFatal("E_DATA_DIR", f"workspace {place} cannot be made: {error.strerror}", hint) from error


def _greet(loaded: Loaded, url: str) -> None:
    """What somebody at a terminal needs: where it is and how to get in. On stdout; logs are on stderr."""
    gateway = loaded.settings.gateway
    token = gateway.token.reveal() or "none: everybody on this machine is admin"
    sys.stdout.write(f"GoClaw {__version__}\n  open   {url}/ui/\n  token  {token}\n")
    sys.stdout.flush()
