"""Heartbeats: an agent goes through its checklist now and then, and speaks up only if it must.

Contract: sessions-lanes-cron.md §6.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct

from goclaw.domain.events import HeartbeatEvent, body
from goclaw.domain.schedule import fnv1a
from goclaw.domain.session import SessionKey
from goclaw.runtime.message import Message

TICK = 30.0  # seconds between two looks; §6.2
PROMPT = "Execute your heartbeat checklist now."
SETTLED = "Nobody waits for a reply. If nothing needs attention, answer HEARTBEAT_OK and nothing else."
FILE = "HEARTBEAT.md"
SUMMARY = 500  # characters of an answer in the log; §6.3
REPEATED = timedelta(hours=24)  # what was said within it is not said again; §6.3
OK = re.compile(r"(?:\*\*|__|`|<b>|<strong>)?\bHEARTBEAT_OK\b(?:\*\*|__|`|</b>|</strong>)?[.!]?")
COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
IDLE = re.compile(r"(?:#.*|[-*+]|(?:[-*+] )?\[[ xX]?\])?")  # a line that asks for nothing
SPAN = re.compile(r"([01]\d|2[0-3]):[0-5]\d")

Status = Literal["ok", "suppressed", "error", "skipped"]
Action = Literal["running", "completed", "suppressed", "error", "skipped"]


class Terms(Struct, frozen=True, kw_only=True, rename="camel"):
    """What may be chosen about a heartbeat (§6.1)."""

    enabled: bool = False
    interval_sec: int = 1800
    prompt: str | None = None
    provider_name: str | None = None
    model: str | None = None
    isolated_session: bool = True
    light_context: bool = False
    ack_max_chars: int = 300
    max_retries: int = 2
    active_hours_start: str | None = None  # HH:MM
    active_hours_end: str | None = None
    timezone: str | None = None
    channel: str | None = None
    chat_id: str | None = None


class WakeHeartbeat(Message[None]):
    """Do not wait for the interval. While it runs, it is remembered once."""

    tenant_id: str
    agent_id: str


class TryHeartbeat(Message[None]):
    """Run it now, whatever the hour, enabled or not. A `key` starts one run."""

    tenant_id: str
    agent_id: str
    key: str = ""


class Beat(Message[None]):
    """Time to look who is due."""


def session_of(agent_key: str, isolated: bool, at: datetime) -> SessionKey:
    return SessionKey(agent_key, f"heartbeat:{int(at.timestamp() * 1000)}" if isolated else "heartbeat")


def first_offset(agent_id: str, interval: int) -> timedelta:
    """How long after it was enabled a heartbeat beats first: less than a tenth of its interval (§6.2)."""
    return timedelta(seconds=fnv1a(agent_id) % max(1, interval // 10))


def idle(checklist: str) -> bool:
    """Whether there is nothing in it beyond headings, comments and empty check boxes."""
    lines = COMMENT.sub("", checklist).splitlines()
    return all(IDLE.fullmatch(line.strip()) for line in lines)


def to_say(answer: str, ack_max_chars: int) -> str:
    """What of an answer is worth delivering; empty if all is well (§6.3).

    An alarm does not vanish because the model added the token to it: only the token does.
    """
    rest, tokens = OK.subn("", answer)
    rest = rest.strip()
    return "" if tokens and len(rest) <= ack_max_chars else rest


def content_hash(text: str) -> str:
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()


def news(agent_id: str, action: Action, *, reason: str = "", error: str = "") -> HeartbeatEvent:
    said = {name: value for name, value in (("reason", reason), ("error", error)) if value}
    return HeartbeatEvent(body=body(agentId=agent_id, action=action, **said))
