"""Logs: one line per fact on stderr, as JSON or for a terminal. Contract: observability.md §10.3."""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import MutableMapping
from typing import Any

import structlog

from goclaw.settings.logging import Logging

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}

LATEST: deque[str] = deque(maxlen=500)  # lines of this process, for who may see them (tools.md §10, `gateway`)
LINE = 2000  # characters of one


def configure(settings: Logging, *, json: bool) -> None:
    """Take effect for the whole process. Called once, before anything is logged. `json` wins over the terminal."""
    json = json or (settings.format == "json" and not sys.stderr.isatty())
    render: Any = structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([structlog.processors.format_exc_info] if json else []),
            _keep,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[settings.level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # libraries speak through the standard module; only what went wrong is worth a line
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")


def _keep(_logger: Any, _level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    facts = (f"{name}={value!r}" for name, value in event.items() if name not in ("timestamp", "level", "event"))
    LATEST.append(f"{event['timestamp']} {event['level']} {event['event']} {' '.join(facts)}".strip()[:LINE])
    return event
