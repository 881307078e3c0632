"""Debug mode: finds messages that can change, refusals nobody looks at, and handlers that hold the loop.

Contract: supervision.md §3 M2, §5 H1 and H4. Switched on by GOCLAW_ACTOR_DEBUG=1.
"""

from __future__ import annotations

import dis
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from time import perf_counter
from types import FrameType
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog
import trio
from msgspec import Raw, Struct, UnsetType

from goclaw.runtime.faults import Err, IgnoredFull, MutableMessage
from goclaw.runtime.message import Message
from goclaw.runtime.values import FrozenMap, Secret

if TYPE_CHECKING:
    from goclaw.runtime.system import System

STALL = 0.1  # seconds one step of a task may take; H4
LONG = 65_536  # bytes; M2
PLAIN = (str, int, float, Decimal, bool, type(None), Enum, UUID, date, time, timedelta, Raw, Secret, UnsetType)
CHANGEABLE = (list, dict, set, bytearray, Mapping)
HERE = str(Path(__file__).parent)

log = structlog.get_logger()


class Checks:
    """What debug mode asks of every message that is sent."""

    def message(self, message: Message[Any]) -> None:
        """Raises `MutableMessage` for a list, dict, set, naive datetime, long bytes or a living object inside."""
        local = not type(message).REMOTE
        for name in type(message).__struct_fields__:
            value = getattr(message, name)
            if (why := _fault_of(value, local)) is not None:
                raise MutableMessage(f"{type(message).TYPE}.{name}: {why}")

    def refusal_is_looked_at(self, to: str, message: Message[Any]) -> None:
        """Raises `IgnoredFull` if the code that called `tell` throws its answer away."""
        if type(message).LOSABLE:
            return
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename.startswith(HERE):
            frame = frame.f_back
        if frame is not None and _throws_away(frame):
            raise IgnoredFull(f"{to} refused {type(message).TYPE}, and its sender did not look")


def _fault_of(value: object, local: bool) -> str | None:
    """Why `value` may not travel; None if it may. `local` messages may hold handles, but nothing changeable."""
    match value:
        case datetime(tzinfo=None):
            return "a datetime without a zone"
        case bytes() if len(value) > LONG:
            return f"{len(value)} bytes, more than {LONG}"
        case bytes() | Err():  # the details of a refusal are written where it is made, and nowhere else
            return None
        case FrozenMap():
            return _fault_of((*value.keys(), *value.values()), local)
        case tuple() | frozenset():
            return next((why for item in value if (why := _fault_of(item, local)) is not None), None)
        case Struct() if type(value).__struct_config__.frozen:
            found = (_fault_of(getattr(value, name), local) for name in type(value).__struct_fields__)
            return next((why for why in found if why is not None), None)
    if isinstance(value, PLAIN) or (local and not isinstance(value, CHANGEABLE)):
        return None
    if is_dataclass(value) and getattr(value, "__dataclass_params__").frozen:  # noqa: B009 - unknown to typing
        found = (_fault_of(getattr(value, name), local) for name in value.__dataclass_fields__)
        return next((why for why in found if why is not None), None)
    return f"a {type(value).__name__} can change or is alive"


def _throws_away(frame: FrameType) -> bool:
    """The value the current call of `frame` returns is dropped at once."""
    after = (step for step in dis.get_instructions(frame.f_code) if step.offset > frame.f_lasti)
    return next(after).opname == "POP_TOP"


class StallWatch(trio.abc.Instrument):
    """Times every step of every actor; a thread looks at the stack of one that takes too long."""

    def __init__(self) -> None:
        self._loop = threading.get_ident()
        self._began = 0.0
        self._stack = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="stall watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._stack = ""
        self._began = perf_counter()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        took = perf_counter() - self._began
        self._began = 0.0
        if took > STALL and task.name.startswith("/"):  # actors' tasks are named after them
            log.warning("loop.stall", actor=task.name, seconds=round(took, 3), stack=self._stack)

    def _look(self) -> None:
        while not self._over.wait(STALL / 2):
            began = self._began
            if began and not self._stack and perf_counter() - began > STALL:
                frame = sys._current_frames().get(self._loop)
                self._stack = "".join(traceback.format_stack(frame)[-20:])


async def watch_stalls(system: System) -> None:
    """Log `loop.stall` with the actor's path and stack for every step above 100 ms, as long as we run."""
    watch = StallWatch()
    watch.start()
    trio.lowlevel.add_instrument(watch)
    try:
        await trio.sleep_forever()
    finally:
        trio.lowlevel.remove_instrument(watch)
        watch.stop()
