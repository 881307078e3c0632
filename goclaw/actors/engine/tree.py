"""The engine branch: where turns become answers."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from goclaw.actors.engine.added import Opening
from goclaw.actors.engine.approvals import ApprovalBroker
from goclaw.actors.engine.bench import Bench
from goclaw.actors.engine.budgets import BudgetsActor
from goclaw.actors.engine.engine import Engine
from goclaw.actors.engine.guards import rules_of
from goclaw.actors.engine.hooks import HookDispatcher
from goclaw.actors.engine.lane import LaneActor
from goclaw.actors.engine.locks import LockTable
from goclaw.actors.engine.policy import PolicyFile, Watch
from goclaw.actors.engine.processes import ProcessSupervisor
from goclaw.actors.engine.program import ProgramActor
from goclaw.actors.engine.provider import ProviderActor
from goclaw.actors.engine.queue import QueueKeeper
from goclaw.actors.engine.rates import Rates
from goclaw.actors.engine.roster import Roster
from goclaw.actors.engine.shelf import Shelf
from goclaw.actors.engine.summoner import summoning
from goclaw.actors.quota import QuotaActor
from goclaw.providers.catalogue import BY_NAME
from goclaw.providers.choose import usable
from goclaw.providers.offline.provider import Load, Offline
from goclaw.providers.offline.reply import Pace
from goclaw.providers.program import AT_ONCE
from goclaw.providers.provider import Provider, open_provider
from goclaw.runtime.child import Child, Limit, Strategy, child
from goclaw.runtime.supervisor import Supervisor
from goclaw.settings.failover import Failover
from goclaw.settings.gateway import Gateway
from goclaw.settings.providers import OFFLINE, Providers, programs

OFFLINE_AT_ONCE = 10_000  # it has no one to overload
LADDER = 15.0  # seconds in which a provider ends its programs


def engine(
    engine: Engine,
    settings: Providers,
    failover: Failover = Failover(),  # noqa: B008 - frozen
    gateway: Gateway = Gateway(),  # noqa: B008 - frozen
    *,
    data_dir: Path,
    opening: Opening = Opening(),  # noqa: B008 - frozen
    watch: Watch | None = None,
) -> Supervisor:
    """`watch`: where the policy comes from; tests have none."""
    vendors = providers(settings, failover, data_dir)
    configured = {vendor.id: vendor for vendor in vendors}
    return Supervisor(
        strategy=Strategy.REST_FOR_ONE,  # a restarted queue must not feed yesterday's lanes
        limit=Limit(restarts=3, within=30.0),
        children=[
            child("policy", policy, engine, watch),
            child("processes", ProcessSupervisor, data_dir, engine.node_name),
            child("providers", partial(Supervisor, vendors, strategy=Strategy.DYNAMIC)),
            child("roster", Roster, opening, configured, engine.ownership),
            child("bench", Bench, engine),
            child("queue", queue, engine, gateway),
            child("lanes", lanes, engine),
            child("summoning", summoning, engine),
        ],
    )


def policy(engine: Engine, watch: Watch | None) -> Supervisor:
    file = [child("file", PolicyFile, watch)] if watch is not None else []
    return Supervisor(
        [
            *file,
            child("budgets", BudgetsActor, engine.spending.limits, engine.spending.settings),
            *([child("hooks", HookDispatcher, engine.hooks)] if engine.hooks is not None else []),
            child("rates", Rates, engine.guards.settings),
            child(
                "approvals",
                ApprovalBroker,
                engine.guards.settings.exec_approval,
                engine.node_name,
                engine.node_id,
                engine.guards.audit,
                engine.ownership,
            ),
            child("shelf", Shelf, engine.tools, rules_of(engine.guards.settings)),
        ]
    )


def providers(settings: Providers, failover: Failover, data_dir: Path) -> list[Child]:
    """The offline model, and the vendors and programs of the configuration."""
    vendors = [child(OFFLINE, partial(ProviderActor, at_once=OFFLINE_AT_ONCE), OFFLINE, partial(offline, settings))]
    for name, vendor, row in usable(settings):
        opener = partial(
            open_provider,
            vendor,
            keys=row.keys,
            timeout=row.timeout_sec,
            at_once=row.max_concurrency,
            name=name,
        )
        actor = partial(
            ProviderActor, at_once=row.max_concurrency, threshold=failover.threshold, open_for=failover.cooldown_sec
        )
        vendors.append(child(name, actor, name, opener))
    for name, program in programs(settings).items():
        opener = partial(open_provider, BY_NAME[name], timeout=program.timeout_sec, program=program, data_dir=data_dir)
        host = partial(ProgramActor, at_once=AT_ONCE, threshold=failover.threshold, open_for=failover.cooldown_sec)
        vendors.append(child(name, host, name, opener, shutdown=LADDER))
    return vendors


def offline(settings: Providers) -> Provider:
    row = settings.offline
    return Offline(
        pace=Pace(
            chunk_chars=row.chunk_chars,
            first_delay=row.first_token_ms / 1000,
            tokens_per_second=row.tokens_per_second,
        ),
        load=Load(tokens=row.load.tokens, tools=row.load.tools, thinking_tokens=row.load.thinking_tokens),
        banner=row.banner,
    )


def queue(engine: Engine, gateway: Gateway) -> Supervisor:
    return Supervisor(
        [
            child("keeper", QueueKeeper, engine),
            child("locks", LockTable, engine),
            child("quota", QuotaActor, gateway, engine.ownership),
        ]
    )


def lanes(engine: Engine) -> Supervisor:
    limits = engine.queue.lanes
    return Supervisor(
        [
            child("main", LaneActor, "main", limits.main, engine),
            child("subagent", LaneActor, "subagent", limits.subagent, engine),
            child("team", LaneActor, "team", limits.team, engine),
            child("cron", LaneActor, "cron", limits.cron, engine),
        ]
    )
