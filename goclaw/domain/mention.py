"""`@agent` at the start of a message, and the chat a choice of agent sticks to. Contract: orchestration.md §10.2."""

from __future__ import annotations

import re
from typing import NamedTuple

from goclaw.domain.session import SessionKey

FOUND = re.compile(r"(@@?)([A-Za-z0-9](?:[A-Za-z0-9-]{0,98}[A-Za-z0-9])?)(?:[ \t\n]+(.*))?\Z", re.DOTALL)
EVERYBODY = "all"  # of a team
CHATS = frozenset({"direct", "group", "main", "ws", "cli"})  # kinds of sessions in which somebody talks


class Mention(NamedTuple):
    key: str
    text: str  # without the mention; empty: only the choice was said
    sticks: bool  # for the messages to come, too


class Place(NamedTuple):
    """Where a choice of agent sticks: everything of a session's key but the agent."""

    instance: str
    chat_id: str


def mention_in(message: str) -> Mention | None:
    """Whom a message names at its start. None: nobody, as far as the grammar goes."""
    found = FOUND.match(message.strip())
    if found is None:
        return None
    text = (found[3] or "").strip()
    return Mention(found[2].lower(), text, sticks=found[1] == "@@" or not text)


def place_of(key: SessionKey) -> Place:
    instance, _, chat = key.rest.partition(":")
    return Place(instance, chat)
