"""Figures for whoever collects them. Contract: observability.md §9, edge-http.md §1."""

from __future__ import annotations

from functools import partial

import trio
from quart import Response

from goclaw.domain.access import Caller, Role
from goclaw.edge.http.answers import json_response
from goclaw.edge.http.request import Call, Raw
from goclaw.operations.metrics import exposition, look
from goclaw.settings.gateway import Gateway

TEXT = "text/plain; version=0.0.4; charset=utf-8"


async def scrape(call: Call, caller: Caller) -> Response:
    """Show the process's figures, as Prometheus text or, if that is asked for, as JSON."""
    samples = await look(call.house)
    if "application/json" in call.request.headers.get("Accept", ""):
        shown = [{"name": one.name, "labels": dict(one.labels), "value": one.value} for one in samples]
        return json_response({"metrics": shown})
    text = await trio.to_thread.run_sync(partial(exposition, samples))  # many lines are much work
    return Response(text, 200, {"Content-Type": TEXT})


async def text(call: Call, caller: Caller) -> Response:
    """Show the process's figures as Prometheus text."""
    shown = await trio.to_thread.run_sync(partial(exposition, await look(call.house)))
    return Response(shown, 200, {"Content-Type": TEXT})


def routes(settings: Gateway) -> tuple[Raw, ...]:
    role = Role.ANYONE if settings.metrics_public else Role.VIEWER
    return Raw("GET /metrics", role, scrape), Raw("GET /metrics/prometheus", role, text)
