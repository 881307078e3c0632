"""The figures of this process, and how they are written down. Contract: observability.md §9.

Figures that are counted as they happen are in the system's meter; those that can be seen are looked at here.
"""

from __future__ import annotations

import os
import platform
import resource
from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from goclaw.operations.context import House
from goclaw.runtime.address import Address
from goclaw.runtime.cell import Cell
from goclaw.runtime.metrics import METRICS, Sample
from goclaw.runtime.tree import EVERYBODY, View

PREFIX = "goclaw_"
PROTOCOL = "3"
SUFFIXES = ("_bucket", "_sum", "_count")  # of a histogram's samples
PROC = Path("/proc/self")


async def look(house: House) -> list[Sample]:
    """Everything there is to show, now. Gives way to others on the way through many actors."""
    system, meter = house.system, house.system.meter
    meter.set("build_info", 1, house.version, PROTOCOL, platform.python_version(), house.node_name)
    meter.set("uptime_seconds", house.uptime_ms / 1000)
    _process(house)
    meter.set("zombie_threads", system.vehicles.zombies)
    await _actors(house)
    letters: Counter[str] = Counter()
    for (reason, _), number in system.dead_letters.counters.items():
        letters[reason] += number
    for reason, number in letters.items():
        meter.set("actor_deadletters_total", number, reason)
    roles = Counter(guest.facts().get("role", "none") for guest in house.connections.values())
    meter.forget("ws_connections")
    for role, number in roles.items():
        meter.set("ws_connections", number, role)
    pool = system.database
    meter.set("db_pool_in_use", getattr(pool, "in_use", 0))
    meter.set("db_pool_size", getattr(pool, "size", 0))
    return list(meter.samples())


async def _actors(house: House) -> None:
    states: Counter[tuple[str, str]] = Counter()
    depths: dict[str, list[int]] = {}
    async for member in View(house.system, EVERYBODY, live=True).below(Address()):
        if isinstance(member, Cell):
            states[member.class_name, member.state.value] += 1
            depths.setdefault(member.class_name, []).append(len(member.mailbox.user))
    meter = house.system.meter
    meter.forget("actor_active")
    meter.forget("actor_mailbox_depth")
    for (of_class, state), number in states.items():
        meter.set("actor_active", number, of_class, state)
    for of_class, waiting in depths.items():
        meter.set("actor_mailbox_depth", max(waiting), of_class, "max")
        meter.set("actor_mailbox_depth", sum(waiting), of_class, "sum")


def _process(house: House) -> None:
    used, meter = resource.getrusage(resource.RUSAGE_SELF), house.system.meter
    meter.set("process_cpu_seconds_total", used.ru_utime + used.ru_stime)
    try:
        pages = int((PROC / "statm").read_text().split()[1])
        meter.set("process_resident_memory_bytes", pages * resource.getpagesize())
        meter.set("open_fds", len(os.listdir(PROC / "fd")))
    except OSError:
        return  # no such place on this system


def exposition(samples: Iterable[Sample]) -> str:
    """The text format of Prometheus, version 0.0.4."""
    lines: list[str] = []
    for name, group in groupby(samples, key=lambda sample: base(sample.name)):
        lines.append(f"# HELP {PREFIX}{name} {METRICS[name].help}")
        lines.append(f"# TYPE {PREFIX}{name} {METRICS[name].type}")
        for sample in group:
            labels = ",".join(f'{label}="{escaped(value)}"' for label, value in sample.labels)
            shown = f"{{{labels}}}" if labels else ""
            value = int(sample.value) if sample.value == int(sample.value) else sample.value
            lines.append(f"{PREFIX}{sample.name}{shown} {value}")
    return "\n".join(lines) + "\n"


def base(name: str) -> str:
    """The metric a sample belongs to."""
    if name in METRICS:
        return name
    return next(name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix))


def escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
