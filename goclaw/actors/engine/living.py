"""Which runs have an actor on this node."""

from __future__ import annotations

from goclaw.domain.address import lane
from goclaw.domain.run import LANES
from goclaw.runtime.address import Address
from goclaw.runtime.cell import Cell
from goclaw.runtime.system import System


def runs_of(system: System) -> list[Address]:
    lanes = (system.members.get(lane(name)) for name in LANES)
    return [child.address for cell in lanes if isinstance(cell, Cell) for child in cell.children]
