"""The engine branch: where turns become answers."""

from __future__ import annotations

from functools import partial

from goclaw.actors.engine.budgets import BudgetsActor
from goclaw.actors.engine.engine import Engine
from goclaw.actors.engine.lane import LaneActor
from goclaw.actors.engine.provider import ProviderActor
from goclaw.actors.engine.queue import QueueKeeper
from goclaw.providers.choose import usable
from goclaw.providers.offline.provider import Load, Offline
from goclaw.providers.offline.reply import Pace
from goclaw.providers.provider import Provider, open_provider
from goclaw.runtime.child import Limit, Strategy, child
from goclaw.runtime.supervisor import Supervisor
from goclaw.settings.failover import Failover
from goclaw.settings.providers import OFFLINE, Providers

OFFLINE_AT_ONCE = 10_000  # it has no one to overload


def engine(engine: Engine, settings: Providers, failover: Failover = Failover()) -> Supervisor:  # noqa: B008 - frozen
    return Supervisor(
        strategy=Strategy.REST_FOR_ONE,  # a restarted queue must not feed yesterday's lanes
        limit=Limit(restarts=3, within=30.0),
        children=[
            child("policy", policy, engine),
            child("providers", providers, settings, failover),
            child("queue", queue, engine),
            child("lanes", lanes, engine),
        ],
    )


def policy(engine: Engine) -> Supervisor:
    return Supervisor([child("budgets", BudgetsActor, engine.spending.limits, engine.spending.settings)])


def providers(settings: Providers, failover: Failover) -> Supervisor:
    vendors = [child(OFFLINE, partial(ProviderActor, at_once=OFFLINE_AT_ONCE), OFFLINE, partial(offline, settings))]
    for vendor, row in usable(settings):
        opener = partial(
            open_provider,
            vendor,
            keys=tuple(row.api_key.reveal().split(",")),
            base_url=row.api_base or None,
            timeout=row.timeout_sec,
        )
        actor = partial(
            ProviderActor, at_once=row.max_concurrency, threshold=failover.threshold, open_for=failover.cooldown_sec
        )
        vendors.append(child(vendor.name, actor, vendor.name, opener))
    return Supervisor(vendors, strategy=Strategy.DYNAMIC)


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


def queue(engine: Engine) -> Supervisor:
    return Supervisor([child("keeper", QueueKeeper, engine)])


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
