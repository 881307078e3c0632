"""What the house is made of before it lives: its key, its policy, its book, what its tools are given."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from socket import gethostname
from typing import Any

import structlog
import trio
from psycopg.conninfo import conninfo_to_dict

from goclaw import __version__
from goclaw.actors.cluster.node import Membership
from goclaw.actors.engine.consent import AtBroker
from goclaw.actors.engine.processes import Background
from goclaw.actors.orch.desk import Children
from goclaw.domain.cluster import Lease, Ownership
from goclaw.domain.errors import StartupFatal
from goclaw.operations.alerts import AlertsForAgents
from goclaw.operations.context import House
from goclaw.operations.files_for_agents import FilesForAgents
from goclaw.operations.for_agents import ForAgents
from goclaw.operations.operation import collect
from goclaw.operations.platforms import PlatformsForAgents
from goclaw.operations.workings import WorkingsForAgents
from goclaw.security.audit import Act, Decision
from goclaw.security.box import Box, Place, Touch, box_of
from goclaw.security.estop import Stopped
from goclaw.security.policy_book import PolicyBook
from goclaw.security.policy_file import STARTER, shape
from goclaw.security.policy_file import load as load_policy
from goclaw.security.policy_text import PolicyInvalid
from goclaw.security.ssrf import lookup
from goclaw.settings.load import Loaded
from goclaw.settings.onboard import keep_key, write_private
from goclaw.settings.settings import Settings
from goclaw.stores.audit_book import AuditBook
from goclaw.stores.audit_file import place
from goclaw.stores.database import Database
from goclaw.tools.approvals import Approvals
from goclaw.tools.automation.workings import Workings
from goclaw.tools.context_files import ContextFiles
from goclaw.tools.custom.maker import Maker
from goclaw.tools.fs.maps import Maps
from goclaw.tools.messaging.alerts import Alerts
from goclaw.tools.messaging.platforms import Platforms
from goclaw.tools.methods import Methods
from goclaw.tools.processes import Processes
from goclaw.tools.runtime.rules import Rules as CommandRules
from goclaw.tools.subagents import Subagents
from goclaw.tools.web.outside import Outside

log = structlog.get_logger()


def things_of(house: House) -> dict[type, object]:
    """What tools may need of the house."""
    settings = house.settings.tools
    return {
        Methods: ForAgents(house, collect("goclaw.operations")),
        ContextFiles: FilesForAgents(house),
        Approvals: AtBroker(house.system, settings.exec_approval, lambda: house.draining),
        Processes: Background(house.system),
        Subagents: Children(
            house.system, house.settings.agents.defaults.subagents, house.settings.orchestration, hooked=True
        ),
        Alerts: AlertsForAgents(house),
        Platforms: PlatformsForAgents(house),
        Maps: Maps(house.settings.data_dir / "repo-maps"),
        Workings: WorkingsForAgents(house),
        CommandRules: CommandRules(
            denied=(str(house.settings.data_dir),),
            channels=settings.exec.allow_channels,
            variables=os.environ,
        ),
    }


def maker_of(house: House, things: Mapping[type, Any]) -> Maker | None:
    """Nobody has tools of commands where nobody has commands (tools.md §12.2)."""
    if house.settings.tools.exec_approval.security == "deny":
        return None
    return Maker(things[CommandRules], things[Approvals], house.box, house.known)


def with_key(loaded: Loaded) -> tuple[Loaded, Box]:
    """Raises StartupFatal E_ENCRYPTION_KEY."""
    kept = keep_key(loaded)
    for warning in kept.warnings[len(loaded.warnings) :]:
        log.warning("config.warning", text=warning)
    return kept, box_of(kept.settings.encryption)


async def open_audit(loaded: Loaded, database: Database, house: House) -> AuditBook:
    """Raises StartupFatal E_AUDIT_INIT."""
    book = AuditBook(database, place(loaded.home), house.node_name, house.system.clock.now, house.known)
    await book.open()
    for step in database.migrated:
        book.note(Act(action="migration.applied", subject=step))
    house.box.told = partial(touched, book)
    return book


def touched(book: AuditBook, what: Touch, place: Place) -> None:
    """A secret was read or written, or no key opens it."""
    decision: Decision = "error" if what == "unreadable" else "info"
    book.note(Act(action=f"secret.{what}", decision=decision, subject=place.bound.decode()))


def hold(ownership: Ownership, stopped: Stopped) -> None:
    """Nothing is claimed while everything is stopped."""
    ownership.stopped = stopped.all
    if stopped:
        log.warning("estop.engaged", by=stopped.by, reason=stopped.reason)


def begin_policy(path: Path) -> None:
    """A first start leaves a policy to edit, which allows what is usual; where it cannot be written there is none."""
    if shape(path) is None:
        with suppress(OSError):
            write_private(path, STARTER)


def policy_of(path: Path, tools: Collection[str]) -> PolicyBook:
    """Without a file none is in force. Raises StartupFatal E_POLICY_LOAD."""
    if shape(path) is None:
        return PolicyBook()
    try:
        return PolicyBook(load_policy(path, tools))
    except PolicyInvalid as invalid:
        raise StartupFatal("E_POLICY_LOAD", f"{path}: {invalid}", "correct it, then: goclaw policy check") from None


def node_name(settings: Settings, port: int) -> str:
    """What stays the same when this gateway is started again. Several of one machine may share a database."""
    host = gethostname()
    return settings.cluster.node_name or (host if settings.database.mode == "embedded" else f"{host}:{port}")


def membership(house: House, url: str, gave_up: trio.Event) -> Membership:
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


async def outside_of(settings: Settings, port: int) -> Outside:
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
