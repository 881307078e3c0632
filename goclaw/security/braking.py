"""What a change of the emergency stop does to what is at work. Contract: security.md §13."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from goclaw.domain.address import PROCESSES, lane
from goclaw.domain.estop import TOOL_CALLS, ToolsStopped
from goclaw.domain.process import EndProcesses
from goclaw.domain.run import LANES, StopAll
from goclaw.runtime.faults import RuntimeFault
from goclaw.runtime.system import System
from goclaw.security.estop import Brake

ROOM = 1.0  # seconds a full lane has to hear of it

log = structlog.get_logger()


async def braked(system: System, brake: Brake, change: Callable[[], None]) -> bool:
    """Make the change and end what it stops. False: the file could not be written."""
    before, kept = brake.state, True
    try:
        change()
    except OSError as error:
        kept = False
        log.error("estop.not_kept", error=str(error))
    state = brake.state
    more = state.without(before)
    if more.all:
        for name in LANES:
            if lane(name) in system.members:  # else nothing runs there yet
                try:
                    await system.cast(lane(name), StopAll(by=state.by), within=ROOM)
                except RuntimeFault as fault:
                    log.error("estop.lane_not_told", lane=name, error=str(fault))  # its runs have no tools any more
    if more:
        system.publish(TOOL_CALLS, ToolsStopped())
        if brake.tool("exec") and PROCESSES in system.members:
            system.tell(PROCESSES, EndProcesses())
    return kept
