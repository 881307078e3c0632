"""The machine as far as it concerns nobody: no names, addresses or variables. Contract: tools.md §10."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from goclaw.tools.tool import Effect, ToolContext, tool

Section = Literal["os", "cpu", "memory", "disk", "uptime", "load", "runtimes"]
PROC = Path("/proc")
RUNTIMES = {"python": "python3", "node": "node", "git": "git", "docker": "docker"}
WITHIN = 2.0  # seconds a program has to say its version


class SystemInfo(Struct):
    sections: (
        Annotated[list[Section], Meta(extra_json_schema={"uniqueItems": True}, description="all if absent")] | None
    ) = None


@tool(group="runtime", effect=Effect.PURE, parallel=True)
async def system_info(ctx: ToolContext, ask: SystemInfo) -> str:
    """Tell what machine this is: system, processors, memory, disk, load, and versions of common programs."""
    return msgspec.json.encode(await ctx.thread(_facts, ask.sections, ctx.workspace.root)).decode()


def _facts(sections: list[Section] | None, workspace: Path) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for section, tell in SECTIONS.items():
        if sections is None or section in sections:
            facts |= tell(workspace)
    return facts


def _os(_: Path) -> dict[str, Any]:
    return {"os": platform.system(), "arch": platform.machine()}


def _cpu(_: Path) -> dict[str, Any]:
    return {"cpu_model": _line("cpuinfo", "model name"), "cpu_count": os.cpu_count()}


def _memory(_: Path) -> dict[str, Any]:
    return {"mem_total": _bytes("MemTotal"), "mem_available": _bytes("MemAvailable")}


def _disk(workspace: Path) -> dict[str, Any]:
    try:
        usage = shutil.disk_usage(workspace)
    except OSError:
        return {"disk_total": None, "disk_free": None}
    return {"disk_total": usage.total, "disk_free": usage.free}


def _uptime(_: Path) -> dict[str, Any]:
    return {"uptime_s": int(float(words[0])) if (words := _read("uptime").split()) else None}


def _load(_: Path) -> dict[str, Any]:
    try:
        return {"load": [round(each, 2) for each in os.getloadavg()]}
    except OSError:
        return {"load": None}


def _runtimes(_: Path) -> dict[str, Any]:
    return {"runtimes": {name: _version(program) for name, program in RUNTIMES.items()}}


def _version(program: str) -> str | None:
    """What it says of itself, without the rest of the line; None if it is not there."""
    found = shutil.which(program)
    if found is None:
        return None
    try:
        said = subprocess.run(  # noqa: S603 - fixed words, no shell
            [found, "--version"], capture_output=True, timeout=WITHIN, stdin=subprocess.DEVNULL, env={}, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = said.stdout.decode("utf-8", "replace").split()
    return next((word.strip(",v") for word in words if any(char.isdigit() for char in word)), None)


def _line(file: str, name: str) -> str | None:
    for line in _read(file).splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


def _bytes(name: str) -> int | None:
    words = (_line("meminfo", name) or "").split()
    return int(words[0]) * 1024 if words and words[0].isdecimal() else None


def _read(file: str) -> str:
    try:
        return (PROC / file).read_text()
    except OSError:
        return ""


SECTIONS: dict[Section, Callable[[Path], dict[str, Any]]] = {
    "os": _os,
    "cpu": _cpu,
    "memory": _memory,
    "disk": _disk,
    "uptime": _uptime,
    "load": _load,
    "runtimes": _runtimes,
}
