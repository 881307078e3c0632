"""The whole house, in start order. Contract: supervision.md §13."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from goclaw.actors.agents import agents
from goclaw.actors.cluster.node import Membership
from goclaw.actors.cron import cron
from goclaw.actors.delivery.outbox import delivery
from goclaw.actors.engine.added import Opening
from goclaw.actors.engine.engine import Engine
from goclaw.actors.engine.guards import Guards
from goclaw.actors.engine.hooks import HookWorks
from goclaw.actors.engine.spending import Spending
from goclaw.actors.engine.tree import engine
from goclaw.actors.infra import infra
from goclaw.actors.orch.tree import orch
from goclaw.actors.sessions.tree import sessions
from goclaw.actors.system import system as services
from goclaw.app.house import maker_of
from goclaw.edge.tree import Doorway, edge
from goclaw.operations.context import House
from goclaw.operations.hook_trials import handlers as hook_handlers
from goclaw.providers.authority import AUTHORITY
from goclaw.runtime.child import Limit, Strategy, child
from goclaw.runtime.supervisor import Supervisor
from goclaw.security.box import Box
from goclaw.settings.load import Loaded
from goclaw.stores.database import Database
from goclaw.stores.embedded import EmbeddedServer


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
    settings = house.settings
    own = house.ownership
    work, opening = _work(house, box, things), _opening(house, box)
    defaults, metered = settings.agents.defaults, settings.gateway.quota.enabled
    carries = partial(delivery, alone=house.embedded, barred=_barred(house))
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
            child("delivery", carries, house.node_id, house.couriers),
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


def _work(house: House, box: Box, things: Mapping[type, Any]) -> Engine:
    """What runs need besides their rows."""
    settings = house.settings
    defaults = settings.agents.defaults
    spending = Spending(settings.budgets, settings.telemetry.model_pricing, defaults.max_tokens)
    return Engine(
        house.node_id,
        house.builtin,
        defaults,
        settings.queue,
        settings.record,
        ownership=house.ownership,
        box=box,
        locks=settings.locks,
        spending=spending,
        maker=maker_of(house, things),
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
        links=house.links,
        couriers=house.couriers,
        denied=_barred(house),
        node_name=house.node_name,
    )


def _barred(house: House) -> tuple[Path, ...]:
    """What no tool reaches, and no file is sent from."""
    return house.settings.data_dir, *house.settings.tools.deny_paths


def _opening(house: House, box: Box) -> Opening:
    """What providers of rows need."""
    settings = house.settings
    return Opening(
        box,
        settings.failover,
        settings.providers.allow_private,
        house.auth_base or AUTHORITY,
        settings.data_dir,
        house.known,
    )
