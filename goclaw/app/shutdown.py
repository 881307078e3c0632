"""How the house ends: in order, sooner, at once. Contract: config-cli.md §11; supervision.md §14."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator

import structlog
import trio

from goclaw.actors.engine.lane_news import CutOff
from goclaw.domain.address import DRAIN, lane
from goclaw.domain.run import LANES
from goclaw.domain.shutdown import BeginDrain
from goclaw.edge.tree import Doorway
from goclaw.operations.context import House
from goclaw.runtime.faults import RuntimeFault

CLOSE = 5.0  # seconds open HTTP connections have at the end; config-cli.md §11

log = structlog.get_logger()


async def drain_on_signal(signals: AsyncIterator[int], house: House, doorway: Doorway) -> None:
    """The first signal lets work end, more of them cut it short; either way the tree is stopped in order."""
    first = signal.Signals(await anext(signals)).name
    first = "RESTART" if house.restarting else first
    log.info("gateway.draining", signal=first)
    house.draining = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cut_short, signals, house, nursery.cancel_scope)
        await _drain(house, doorway, first)
        nursery.cancel_scope.cancel()
    await house.system.stop()
    log.info("gateway.stopped")


def restart(house: House) -> None:
    """End as at a signal, and begin again after that."""
    if not house.draining:
        house.restarting = True
        signal.raise_signal(signal.SIGTERM)


async def end_without_lease(gave_up: trio.Event, house: House) -> None:
    """Nothing we hold is ours for sure, and nothing can be handed back: end, so that a clean process starts."""
    await gave_up.wait()
    await house.system.stop()


async def _drain(house: House, doorway: Doorway, reason: str) -> None:
    budget = house.settings.gateway.drain_sec
    if doorway.door is not None:
        doorway.door.refuse_sockets()
    try:
        handed_back = await house.system.ask(
            DRAIN, BeginDrain(reason=reason.lower(), within=budget), within=budget + 10
        )
        log.info("gateway.drained", handed_back=handed_back)
    except RuntimeFault as fault:
        log.warning("gateway.drain_failed", error=str(fault))
    if doorway.door is not None:
        await doorway.door.close(CLOSE)


async def _cut_short(signals: AsyncIterator[int], house: House, drain: trio.CancelScope) -> None:
    """The second signal puts running runs back at once, the third waits for nothing any more."""
    await anext(signals)
    house.restarting = False  # whoever sends a signal wants an end
    log.warning("gateway.cut_short")
    for name in LANES:
        house.system.tell(lane(name), CutOff())
    await anext(signals)
    drain.cancel()
