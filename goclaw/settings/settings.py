"""The whole configuration as one value. Code receives a section of it, never the whole, never `os.environ`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from goclaw.settings.agents import Agents
from goclaw.settings.alerts import Alerts
from goclaw.settings.budgets import Budgets
from goclaw.settings.chaos import Chaos
from goclaw.settings.cluster import Cluster
from goclaw.settings.cron import Cron
from goclaw.settings.database import Database
from goclaw.settings.encryption import Encryption
from goclaw.settings.failover import Failover
from goclaw.settings.gateway import Gateway
from goclaw.settings.hooks import Hooks
from goclaw.settings.locks import Locks
from goclaw.settings.logging import Logging
from goclaw.settings.policy import Policy
from goclaw.settings.providers import Providers
from goclaw.settings.queue import Queue
from goclaw.settings.record import Record
from goclaw.settings.retention import Retention
from goclaw.settings.section import Section
from goclaw.settings.security import Security
from goclaw.settings.telemetry import Telemetry
from goclaw.settings.tools import Tools


class Settings(Section, frozen=True):
    """Configuration of a GoClaw gateway."""

    data_dir: Annotated[Path, Meta(description="everything that must survive")] = Path("${GOCLAW_HOME}/data")
    gateway: Gateway = Gateway()
    agents: Agents = Agents()
    providers: Providers = Providers()
    failover: Failover = Failover()
    policy: Policy = Policy()
    tools: Tools = Tools()
    security: Security = Security()
    hooks: Hooks = Hooks()
    budgets: Budgets = Budgets()
    alerts: Alerts = Alerts()
    queue: Queue = Queue()
    cron: Cron = Cron()
    locks: Locks = Locks()
    record: Record = Record()
    retention: Retention = Retention()
    chaos: Chaos = Chaos()
    database: Database = Database()
    encryption: Encryption = Encryption()
    cluster: Cluster = Cluster()
    logging: Logging = Logging()
    telemetry: Telemetry = Telemetry()
