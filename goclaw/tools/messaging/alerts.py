"""How an agent reaches whoever runs this gateway. The port; behind it stand the operations."""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct

from goclaw.tools.methods import Asker

Severity = Literal["info", "warning", "critical"]


class Alert(Struct, frozen=True, kw_only=True):
    severity: Severity
    title: str
    body: str


class Alerts(Protocol):
    async def send(self, asker: Asker, alert: Alert, *, key: str) -> str:
        """The alert's id, once it is stored. One `key` is one alert. Raises `Rejected` when there were too many."""
        ...
