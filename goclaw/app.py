"""Opens the house in order and closes it in reverse. The only file that knows everyone.

Start sequence: config-cli.md §10. Shutdown: config-cli.md §11, supervision.md §14.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from socket import gethostname
from typing import Any

import structlog
import trio
from psycopg.conninfo import conninfo_to_dict

from goclaw import __version__
from goclaw.actors.agents import agents
from goclaw.actors.cluster.node import Membership
from goclaw.actors.cron import cron
from goclaw.actors.delivery.outbox import delivery
from goclaw.actors.engine.added import Opening
from goclaw.actors.engine.approvals import AtBroker
from goclaw.actors.engine.engine import Engine
from goclaw.actors.engine.guards import Guards
from goclaw.actors.engine.hooks import HookWorks
from goclaw.actors.engine.lane import CutOff
from goclaw.actors.engine.processes import Background
from goclaw.actors.engine.spending import Spending
from goclaw.actors.engine.tree import engine
from goclaw.actors.infra import infra
from goclaw.actors.orch.desk import Children
from goclaw.actors.orch.tree import orch
from goclaw.actors.sessions.tree import sessions
from goclaw.actors.system import system as services
from goclaw.domain.access import MASTER_TENANT, SYSTEM_USER
from goclaw.domain.address import CONFIG, DRAIN, POLICY, lane
from goclaw.domain.agent import DEFAULT_KEY
from goclaw.domain.cluster import Lease, Ownership
from goclaw.domain.config import Reload
from goclaw.domain.errors import StartupFatal
from goclaw.domain.ids import new_id
from goclaw.domain.policy import ReloadPolicy
from goclaw.domain.run import LANES
from goclaw.domain.shutdown import BeginDrain
from goclaw.edge.door import reserve
from goclaw.edge.tree import Doorway, edge
from goclaw.knowledge import templates
from goclaw.operations.alerts import AlertsForAgents
from goclaw.operations.builtin_tools import rows_of
from goclaw.operations.context import House
from goclaw.operations.files_for_agents import FilesForAgents
from goclaw.operations.for_agents import ForAgents
from goclaw.operations.hooks import handlers as hook_handlers
from goclaw.operations.operation import collect
from goclaw.operations.workings import WorkingsForAgents
from goclaw.providers.authority import AUTHORITY
from goclaw.runtime import crashpoint
from goclaw.runtime.child import Limit, Strategy, child
from goclaw.runtime.faults import RuntimeFault
from goclaw.runtime.supervisor import Supervisor
from goclaw.runtime.system import open_system
from goclaw.security.audit import Act, Decision
from goclaw.security.box import Box, Place, Touch, box_of
from goclaw.security.confine import unreadable
from goclaw.security.estop import Brake, Stopped
from goclaw.security.policy_book import PolicyBook
from goclaw.security.policy_file import STARTER, shape
from goclaw.security.policy_file import load as load_policy
from goclaw.security.policy_text import PolicyInvalid
from goclaw.security.ssrf import lookup
from goclaw.settings import logs
from goclaw.settings.instance import InstanceLock, instance_lock
from goclaw.settings.load import Loaded, undecided
from goclaw.settings.onboard import keep_key, onboard, write_private
from goclaw.settings.settings import Settings
from goclaw.stores import agents as agent_rows
from goclaw.stores import builtin_tools
from goclaw.stores.audit_book import AuditBook
from goclaw.stores.audit_file import place
from goclaw.stores.connection import connect
from goclaw.stores.database import Database, open_database
from goclaw.stores.embedded import EmbeddedServer
from goclaw.stores.migrate import ensure_schema
from goclaw.tools.approvals import Approvals
from goclaw.tools.automation.workings import Workings
from goclaw.tools.context_files import ContextFiles
from goclaw.tools.custom.maker import Maker
from goclaw.tools.messaging.alerts import Alerts
from goclaw.tools.methods import Methods
from goclaw.tools.processes import Processes
from goclaw.tools.runtime.rules import Rules as CommandRules
from goclaw.tools.runtime.rules import hidden
from goclaw.tools.subagents import Subagents
from goclaw.tools.tool import collect as collect_tools
from goclaw.tools.tool import equipped
from goclaw.tools.web.outside import Outside

WITHOUT_LEASE = 75  # exit code: other nodes have taken our place, or may have (durability.md §12.5)
ESCALATED = 70  # exit code: the root gave up, and the init system starts a clean one (supervision.md §8.3)
GENERATIONS = (50_000, 50, 1000)  # garbage collector thresholds; supervision.md §10.1 V7
CLOSE = 5.0  # seconds open HTTP connections have at the end; config-cli.md §11

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
            _begin_policy(loaded.settings.policy.file)
        for warning in loaded.warnings:
            log.warning("config.warning", text=warning)
        try:
            return trio.run(_live, loaded, lock, not json_logs, tools)
        except BaseExceptionGroup as group:
            raise _only(group) from None


async def _live(loaded: Loaded, lock: InstanceLock, terminal: bool, packages: Sequence[str]) -> int:
    settings = loaded.settings
    began = trio.current_time()
    sockets = reserve(settings.gateway.bind_host, settings.gateway.port)
    _make_workspace(settings)
    with (
        trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals,
        trio.open_signal_receiver(signal.SIGHUP) as hangups,
    ):
        async with _stores(settings) as (database, server), open_system(database) as system:
            loaded, box = _with_key(loaded)
            tools = collect_tools(*packages)
            name = _node_name(settings, sockets[0].getsockname()[1])
            count = len(tools)
            house = House(
                loaded.settings, system, __version__, new_id(), count, loaded.production, node_name=name, box=box
            )
            house.auth_base = loaded.auth_base
            house.audit = await _audit(loaded, database, house)
            house.policy = _policy(loaded.settings.policy.file, tools)
            house.ownership.alone = house.embedded
            house.brake = Brake(loaded.settings.data_dir / "estop.json", partial(_hold, house.ownership))
            outside = await _outside(loaded.settings, sockets[0].getsockname()[1])
            tools = {name: tool for name, tool in tools.items() if not hidden(name, settings.tools)}
            things = {**_things(house), Outside: outside}
            house.builtin = equipped(tools, things)
            await database.run(builtin_tools.fill, tools=rows_of(house.builtin))
            doorway = Doorway(house, sockets)
            gave_up = trio.Event()
            me = _membership(house, f"http://{doorway.address}", gave_up)
            await system.start(child("", tree, loaded, house, box, things, database, server, doorway, me))
            gc.set_threshold(*GENERATIONS)
            gc.freeze()
            lock.announce(doorway.address)
            url = f"http://{doorway.address}"
            log.info("gateway.ready", address=url, seconds=round(trio.current_time() - began, 3))
            if terminal:  # a service's output is kept by others, and the token is a secret
                _greet(loaded, url)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_drain_on_signal, signals, house, doorway)
                nursery.start_soon(_end_without_lease, gave_up, house)
                nursery.start_soon(_reload_on_hangup, hangups, house)
                await system.ended.wait()
                nursery.cancel_scope.cancel()
            if gave_up.is_set():
                return WITHOUT_LEASE
            return 0 if house.draining else ESCALATED


def tree(
    loaded: Loaded,
    house: House,
    box: Box,
    things: Mapping[type, Any],
    database: Database,
    server: EmbeddedServer | None,
    doorway: Doorway,
    me: Membership,
) -> Supervisor:
    """The whole house, in start order (supervision.md §13)."""
    settings = house.settings
    own = house.ownership
    defaults, metered = settings.agents.defaults, settings.gateway.quota.enabled
    spending = Spending(settings.budgets, settings.telemetry.model_pricing, defaults.max_tokens)
    work = Engine(
        house.node_id,
        house.builtin,
        defaults,
        settings.queue,
        settings.record,
        ownership=own,
        box=box,
        locks=settings.locks,
        spending=spending,
        maker=_maker(house, things),
        guards=Guards(
            settings.tools,
            house.known,
            settings.gateway.injection_action,
            settings.security.leak_scan,
            house.policy,
            house.brake,
            house.audit,
        ),
        hooks=HookWorks(hook_handlers(house), settings.hooks, house.policy, box),
        block_reply=settings.gateway.block_reply,
        denied=(settings.data_dir, *settings.tools.deny_paths),
        node_name=house.node_name,
    )
    opening = Opening(
        box,
        settings.failover,
        settings.providers.allow_private,
        house.auth_base or AUTHORITY,
        settings.data_dir,
        house.known,
    )
    watch = (settings.policy.file, house.policy, frozenset(house.builtin), house.audit)
    return Supervisor(
        strategy=Strategy.ONE_FOR_ALL,
        limit=Limit(restarts=5, within=60.0),
        children=[
            child("system", services, house),
            child("infra", infra, loaded, database, server, house, me),
            child("agents", agents, defaults, settings.providers, settings.failover),
            child(
                "engine",
                partial(engine, data_dir=settings.data_dir, opening=opening, watch=watch),
                work,
                settings.providers,
                settings.failover,
                settings.gateway,
            ),
            child("sessions", sessions, house.node_id, settings.queue, defaults.run_timeout_sec, own, metered, work),
            child("orch", orch, defaults.subagents, settings.orchestration, own),
            child("delivery", partial(delivery, alone=house.embedded), house.node_id, house.couriers),
            child(
                "cron",
                partial(cron, resting=lambda: house.draining or house.brake.state.all, metered=metered),
                house.node_id,
                settings.cron,
                settings.agents.defaults.workspace,
            ),
            child("edge", edge, doorway),
        ],
    )


def _things(house: House) -> dict[type, object]:
    """What tools may need of the house."""
    settings = house.settings.tools
    return {
        Methods: ForAgents(house, collect("goclaw.operations")),
        ContextFiles: FilesForAgents(house),
        Approvals: AtBroker(house.system, settings.exec_approval),
        Processes: Background(house.system),
        Subagents: Children(house.system, house.settings.agents.defaults.subagents, house.settings.orchestration),
        Alerts: AlertsForAgents(house),
        Workings: WorkingsForAgents(house),
        CommandRules: CommandRules(
            denied=(str(house.settings.data_dir),),
            channels=settings.exec.allow_channels,
            variables=os.environ,
        ),
    }


def _maker(house: House, things: Mapping[type, Any]) -> Maker | None:
    """Nobody has tools of commands where nobody has commands (tools.md §12.2)."""
    if house.settings.tools.exec_approval.security == "deny":
        return None
    return Maker(things[CommandRules], things[Approvals], house.box, house.known)


def _with_key(loaded: Loaded) -> tuple[Loaded, Box]:
    """Raises StartupFatal E_ENCRYPTION_KEY."""
    kept = keep_key(loaded)
    for warning in kept.warnings[len(loaded.warnings) :]:
        log.warning("config.warning", text=warning)
    return kept, box_of(kept.settings.encryption)


async def _audit(loaded: Loaded, database: Database, house: House) -> AuditBook:
    """Raises StartupFatal E_AUDIT_INIT."""
    book = AuditBook(database, place(loaded.home), house.node_name, house.system.clock.now, house.known)
    await book.open()
    for step in database.migrated:
        book.note(Act(action="migration.applied", subject=step))
    house.box.told = partial(_touched, book)
    return book


def _touched(book: AuditBook, what: Touch, place: Place) -> None:
    decision: Decision = "error" if what == "unreadable" else "info"
    book.note(Act(action=f"secret.{what}", decision=decision, subject=place.bound.decode()))


def _hold(ownership: Ownership, stopped: Stopped) -> None:
    """Nothing is claimed while everything is stopped."""
    ownership.stopped = stopped.all
    if stopped:
        log.warning("estop.engaged", by=stopped.by, reason=stopped.reason)


def _begin_policy(path: Path) -> None:
    """A first start leaves a policy to edit, which allows what is usual; where it cannot be written there is none."""
    if shape(path) is None:
        with suppress(OSError):
            write_private(path, STARTER)


def _policy(path: Path, tools: Collection[str]) -> PolicyBook:
    """Without a file none is in force. Raises StartupFatal E_POLICY_LOAD."""
    if shape(path) is None:
        return PolicyBook()
    try:
        return PolicyBook(load_policy(path, tools))
    except PolicyInvalid as invalid:
        raise StartupFatal("E_POLICY_LOAD", f"{path}: {invalid}", "correct it, then: goclaw policy check") from None


def _node_name(settings: Settings, port: int) -> str:
    """What stays the same when this gateway is started again. Several of one machine may share a database."""
    host = gethostname()
    return settings.cluster.node_name or (host if settings.database.mode == "embedded" else f"{host}:{port}")


def _membership(house: House, url: str, gave_up: trio.Event) -> Membership:
    lanes = house.settings.queue.lanes
    return Membership(
        house=house,
        ownership=house.ownership,
        url=url,
        capacity=lanes.main + lanes.subagent + lanes.team + lanes.cron,
        lease=Lease(house.settings.cluster.lease_sec),
        drain=partial(signal.raise_signal, signal.SIGTERM),
        give_up=gave_up.set,
    )


async def _outside(settings: Settings, port: int) -> Outside:
    """The web as tools may see it: without our own doors (security.md §4.1)."""
    own = {("", port)}
    wanted = conninfo_to_dict(settings.database.dsn.reveal()) if settings.database.mode == "external" else {}
    for host in str(wanted.get("host") or "").split(","):
        if host and not host.startswith("/"):
            door = int(wanted.get("port") or 5432)
            try:
                own |= {(host, door), *((address, door) for address in await lookup(host))}
            except OSError:
                own.add((host, door))
    return Outside(settings.tools, settings.security.ssrf, __version__, own)


@asynccontextmanager
async def _stores(settings: Settings) -> AsyncIterator[tuple[Database, EmbeddedServer | None]]:
    """The database, ours or somebody else's, with its schema and its first rows. Raises StartupFatal."""
    wanted = settings.database
    server: EmbeddedServer | None = None
    dsn = wanted.dsn.reveal()
    if wanted.mode == "embedded":
        server = EmbeddedServer(
            wanted.embedded.dir,
            shared_buffers_mb=wanted.embedded.shared_buffers_mb,
            max_connections=wanted.embedded.max_connections,
            max_wal_size_mb=wanted.embedded.max_wal_size_mb,
        )
        dsn = await server.start()
    try:
        pool = open_database(
            dsn,
            pool_min=wanted.pool_min,
            pool_max=wanted.pool_max,
            statement_timeout_ms=int(wanted.statement_timeout_ms),
        )
        async with pool as database:
            await _prepare(dsn, database)
            yield database, server
    finally:
        if server is not None:
            await server.stop()


async def _prepare(dsn: str, database: Database) -> None:
    connection = await connect(dsn)
    try:
        for step in await ensure_schema(connection, upgrade=False):
            log.info("schema.applied", step=step.name)
            database.migrated.append(step.name)
    finally:
        await connection.close()
    named = {"id": new_id(), "tenant": MASTER_TENANT, "key": DEFAULT_KEY, "name": "GoClaw", "owner": SYSTEM_USER}
    await database.run(agent_rows.seed, **named, more=templates.starters())


async def _drain_on_signal(signals: AsyncIterator[int], house: House, doorway: Doorway) -> None:
    """The first signal lets work end, more of them cut it short; either way the tree is stopped in order."""
    first = signal.Signals(await anext(signals)).name
    log.info("gateway.draining", signal=first)
    house.draining = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cut_short, signals, house, nursery.cancel_scope)
        await _drain(house, doorway, first)
        nursery.cancel_scope.cancel()
    await house.system.stop()
    log.info("gateway.stopped")


async def _reload_on_hangup(hangups: AsyncIterator[int], house: House) -> None:
    async for _ in hangups:
        house.system.tell(CONFIG, Reload())
        house.system.tell(POLICY, ReloadPolicy())


async def _end_without_lease(gave_up: trio.Event, house: House) -> None:
    """Nothing we hold is ours for sure, and nothing can be handed back: end, so that a clean process starts."""
    await gave_up.wait()
    await house.system.stop()


async def _drain(house: House, doorway: Doorway, reason: str) -> None:
    budget = house.settings.gateway.drain_sec
    if doorway.door is not None:
        doorway.door.refuse_sockets()
    try:
        handed_back = await house.system.ask(
            DRAIN, BeginDrain(reason=reason.lower(), within=budget), within=budget + 10
        )
        log.info("gateway.drained", handed_back=handed_back)
    except RuntimeFault as fault:
        log.warning("gateway.drain_failed", error=str(fault))
    if doorway.door is not None:
        await doorway.door.close(CLOSE)


async def _cut_short(signals: AsyncIterator[int], house: House, drain: trio.CancelScope) -> None:
    """The second signal puts running runs back at once, the third waits for nothing any more."""
    await anext(signals)
    log.warning("gateway.cut_short")
    for name in LANES:
        house.system.tell(lane(name), CutOff())
    await anext(signals)
    drain.cancel()


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
