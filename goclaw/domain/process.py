"""Programs an agent leaves running in the background, and what can be asked of them. Contract: tools.md §13."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from goclaw.runtime.message import Message

Stroke = Literal["TERM", "INT", "KILL"]


class Owner(Struct, frozen=True, kw_only=True):
    """Whose they are: nobody else hears that they exist."""

    tenant_id: str
    session_key: str
    agent_id: str
    user_id: str


class Facts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Times are ISO 8601. `bytes` is what it has written so far, `lost`: its gateway went away under it."""

    id: str
    command: str
    running: bool
    exit_code: int | None = None
    started_at: str
    ended_at: str | None = None
    bytes: int = 0
    lost: bool = False
    shell: bool = False  # what is written to it are commands


class Piece(Struct, frozen=True, kw_only=True):
    """A part of what it wrote, in whole characters. `next_offset` is where the next one begins, in bytes."""

    text: str
    next_offset: int
    dropped: int  # bytes at the beginning that nobody has any more


class Killed(Struct, frozen=True, kw_only=True):
    killed: bool
    exit_code: int | None


class StartProcess(Message[str]):
    """Its id. `place` is an open directory that becomes ours."""

    REMOTE = False

    owner: Owner
    command: str
    shown: str
    place: int
    variables: tuple[tuple[str, str], ...]
    shell: bool = False
    agent_key: str = ""


class ListProcesses(Message[tuple[Facts, ...]]):
    """Newest first. What those that run have written so far is not in it."""

    owner: Owner


class EndProcesses(Message[None]):
    """All that run, whosever they are: an operator stopped them."""


class AwaitExit(Message[Facts]):
    """Answered when it has ended, or after `within` seconds."""

    owner: Owner
    id: str
    within: float


class ReadOutput(Message[Piece]):
    owner: Owner
    id: str
    offset: int  # bytes
    limit: int  # bytes


class WriteInput(Message[int]):
    owner: Owner
    id: str
    data: bytes


class KillProcess(Message[Killed]):
    """Answered when it is gone."""

    owner: Owner
    id: str
    signal: Stroke


class ProcessEvent(Message[None]):
    """`process.start`, `process.exit` or `process.kill`. For its user and the admins."""

    type: str
    body: msgspec.Raw
