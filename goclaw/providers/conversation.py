"""What to tell a program that keeps the conversation itself: all of it once, and then only what is new.

Contract: providers.md §7.1, §7.2.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import msgspec
from msgspec import Struct

from goclaw.domain.chat import ChatMessage, ChatRequest, Image, Usage
from goclaw.domain.run import RunKind
from goclaw.domain.tokens import estimate, estimate_prompt

SPOKEN = frozenset(get_args(RunKind)) - {"summary", "flush", "replay"}  # those are about a conversation, not of it
SPEAKERS = {"user": "User", "assistant": "You", "tool": "Result of a tool"}


class Place(Struct, frozen=True):
    """Which conversation an ask belongs to. `once`: none that anybody will come back to."""

    name: str  # of files and directories
    key: str  # of the session
    once: bool = False


class Bookmark(Struct, frozen=True, kw_only=True):
    """How far a program is in its own record of a conversation; outlives it, and us."""

    id: str = ""  # the program's own name for it; empty = it has not begun
    said: str = ""  # the digest of its last answer, which later asks repeat
    resets: int = 0  # how often it began anew


def place_of(provider: str, ask: ChatRequest) -> Place:
    told = ask.metadata
    key = str(told.get("session", ""))
    if not key or told.get("run_kind", "chat") not in SPOKEN or told.get("aside"):
        return Place(f"once-{secrets.token_hex(8)}", key, once=True)
    owner = f"{provider}\0{told.get('tenant', '')}\0{key}"
    return Place(hashlib.sha256(owner.encode()).hexdigest()[:24], key)


def current(mark: Bookmark, ask: ChatRequest) -> Bookmark:
    """`mark`, or an empty one if what was answered is not in the history any more: the session was reset."""
    if mark.said and not _answers(ask.messages):
        return Bookmark(resets=mark.resets + 1)
    return mark


def answered(mark: Bookmark, content: str) -> Bookmark:
    return msgspec.structs.replace(mark, said=_digest(content))


def instructions(ask: ChatRequest) -> str:
    return "\n\n".join(message.content for message in ask.messages if message.role == "system")


def pictures(messages: Sequence[ChatMessage]) -> list[Image]:
    """Those that came with what the user said since the last answer."""
    return [image for message in _new(messages) for image in message.images]


def news(messages: Sequence[ChatMessage], mark: Bookmark) -> str:
    """What the user said since the last answer, and before that what was said without this program."""
    answers = _answers(messages)
    ours = [place for place in answers if _digest(messages[place].content) == mark.said]
    if ours and ours[-1] != answers[-1]:
        return _told("Meanwhile in this conversation:", messages[ours[-1] + 1 :])
    return _said(messages)


def retold(messages: Sequence[ChatMessage]) -> str:
    """The same for a program that knows nothing of what was said before."""
    return _told("This conversation so far:", messages) if _answers(messages) else _said(messages)


def _told(title: str, messages: Sequence[ChatMessage]) -> str:
    earlier = [
        f"{SPEAKERS[message.role]}: {message.content}"
        for message in messages[: _answers(messages)[-1] + 1]
        if message.role in SPEAKERS and message.content
    ]
    return "\n\n".join([title, *earlier, "What is new:", _said(messages)])


def _said(messages: Sequence[ChatMessage]) -> str:
    return "\n\n".join(message.content for message in _new(messages) if message.role == "user")


def _new(messages: Sequence[ChatMessage]) -> Sequence[ChatMessage]:
    answers = _answers(messages)
    return messages[answers[-1] + 1 :] if answers else messages


def _answers(messages: Sequence[ChatMessage]) -> list[int]:
    return [place for place, message in enumerate(messages) if message.role == "assistant"]


def _digest(content: str) -> str:
    return hashlib.sha256(content.strip().encode("utf-8", "replace")).hexdigest()[:32]


def estimated(ask: ChatRequest, said: str) -> Usage:
    """What an answer may have taken, from a program that does not count."""
    return Usage(prompt_tokens=estimate_prompt(ask.messages, ()), completion_tokens=estimate(said), estimated=True)


def clear(directory: Path) -> None:
    """What an ask for once leaves behind."""
    shutil.rmtree(directory, ignore_errors=True)


def read_bookmark(path: Path) -> Bookmark:
    """An empty one if there is none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Bookmark)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return Bookmark()


def write_bookmark(path: Path, mark: Bookmark) -> None:
    """Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(mark))
    fresh.replace(path)
