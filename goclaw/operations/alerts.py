"""Alerts of agents for operators: written down, told to admins who listen, sent to the chats that are named.

Contract: tools.md §10 (`send_alert`), edge-websocket.md §8.
"""

from __future__ import annotations

import uuid
from collections import deque

import structlog

from goclaw.domain.activity import RecordActivity
from goclaw.domain.address import OUTBOX
from goclaw.domain.delivery import Post
from goclaw.domain.errors import Rejected, exhausted
from goclaw.domain.events import AgentAlert, body, of_admins
from goclaw.operations.context import House
from goclaw.runtime.values import FrozenMap
from goclaw.stores import activity, outbox
from goclaw.tools.messaging.alerts import Alert
from goclaw.tools.methods import Asker

MOST, WITHIN = 10, 600.0  # of an agent, in so many seconds
AGENTS = 1000  # whose alerts are counted
SHOWN = 1000  # characters of the text in the log of activity

log = structlog.get_logger()


class AlertsForAgents:
    """Implements `tools.messaging.alerts.Alerts`."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._sent: dict[tuple[str, str], deque[tuple[float, str]]] = {}  # when and which, by tenant and agent

    async def send(self, asker: Asker, alert: Alert, *, key: str) -> str:
        house = self._house
        id = str(uuid.uuid5(uuid.UUID(asker.tenant_id), f"alert/{asker.user_id}/{key}"))
        self._count(asker, id)
        done = RecordActivity(
            id=id,
            at=house.system.clock.now(),
            tenant_id=asker.tenant_id,
            actor_type="agent",
            actor_id=asker.agent_id,
            action="agent.alert",
            entity_type="session",
            entity_id=asker.session_key,
            details=FrozenMap({"severity": alert.severity, "title": alert.title, "body": alert.body[:SHOWN]}),
        )
        await house.system.database.run(activity.add, [done])
        for number, chat in enumerate(house.settings.alerts.notify):
            channel, _, to = chat.partition(":")
            if (asker.tenant_id, channel) not in house.couriers:
                log.warning("alert.no_channel", channel=channel)
                continue
            await house.system.database.run(
                outbox.put,
                tenant=asker.tenant_id,
                run_id=None,
                seq=0,
                channel_instance=channel,
                chat_id=to,
                local_key=to,
                kind="notice",
                payload={"text": f"[{alert.severity}] {asker.agent_key}: {alert.title}\n{alert.body}".strip()},
                dedupe_key=f"alert:{id}:{number}",
            )
        house.system.tell(OUTBOX, Post())
        news = {
            "id": id,
            "agentId": asker.agent_key,
            "sessionKey": asker.session_key,
            "severity": alert.severity,
            "title": alert.title,
            "body": alert.body,
        }
        house.system.publish(of_admins(asker.tenant_id), AgentAlert(body=body(**news)))
        return id

    def _count(self, asker: Asker, id: str) -> None:
        """Raises `Rejected`. An alert that is sent again is the same one."""
        now, agent = self._house.system.clock.monotonic(), (asker.tenant_id, asker.agent_id)
        sent = self._sent.pop(agent, None) or deque[tuple[float, str]]()
        while len(self._sent) >= AGENTS:
            del self._sent[next(iter(self._sent))]
        self._sent[agent] = sent
        while sent and sent[0][0] <= now - WITHIN:
            sent.popleft()
        if any(id == each for _, each in sent):
            return
        if len(sent) >= MOST:
            raise Rejected(exhausted("alerts", sent[0][0] + WITHIN - now))
        sent.append((now, id))
