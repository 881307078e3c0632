"""What operators do to one actor: restart, stop, suspend, resume, probe. Contract: edge-http.md §26.

None of it counts as a crash. Whoever is asked to end gets its time, then it is killed.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio

from goclaw.runtime.address import Address
from goclaw.runtime.child import Ordered, State
from goclaw.runtime.faults import NoSuchActor, RuntimeFault
from goclaw.runtime.message import Envelope, Probe, Probed, RestartDue, Resume, Stop, Suspend

if TYPE_CHECKING:
    from goclaw.runtime.cell import Cell
    from goclaw.runtime.system import System

PROBE = 3.0  # seconds a probe waits at most


def restart(system: System, address: Address, *, kill: bool = False, within: float = 5.0, by: str = "") -> int:
    """Let an actor start afresh, whatever state it is in. Returns the incarnation that ends.

    Quarantine and back-off end with it. Raises `NoSuchActor`, and ValueError for the root.
    """
    return _order(system, address, Ordered.RESTART, kill, within, by)


def stop(system: System, address: Address, *, kill: bool = False, within: float = 5.0, by: str = "") -> int:
    """End an actor until somebody restarts it; a virtual one comes back with its next message. As `restart`."""
    return _order(system, address, Ordered.STOP, kill, within, by)


def suspend(system: System, address: Address) -> None:
    """Hold its ordinary messages back; control is still served. Raises `NoSuchActor`."""
    _cell(system, address).signal(Suspend())


def resume(system: System, address: Address) -> None:
    """Serve its ordinary messages again. Raises `NoSuchActor`."""
    _cell(system, address).signal(Resume())


async def probe(system: System, address: Address, within: float = 1.0) -> tuple[Probed, float] | None:
    """How the actor is, and the seconds its loop took to say so; None if it did not in time."""
    _cell(system, address)
    began = trio.current_time()
    try:
        answer = await system.ask(address, Probe(), within=min(within, PROBE))
    except RuntimeFault:
        return None
    return answer, trio.current_time() - began


def _order(system: System, address: Address, ordered: Ordered, kill: bool, within: float, by: str) -> int:
    cell = _cell(system, address)
    if cell.parent is None:
        raise ValueError("the root answers to nobody")
    ended, parent = cell.incarnation, cell.parent
    past = cell.history()
    past.ordered, past.by = ordered, by
    if cell.running or cell.actor is not None or cell.asleep:
        if kill and cell.running:
            cell.kill()
        else:
            cell.signal(Stop(reason="shutdown"))
            system.spawn(partial(_see_to_it, cell, ended, within), f"{address} (ending)")
    elif ordered is Ordered.STOP:
        cell.shelve()
        past.ordered = None
        system.happened("actor.stopped", cell, reason="shutdown")
    else:
        parent.deliver(Envelope(RestartDue(address=address)))
    return ended


async def _see_to_it(cell: Cell, incarnation: int, within: float) -> None:
    """Kill an incarnation that does not end in time."""
    over = cell.end()
    with trio.move_on_after(within):
        await over.wait()
    if not over.is_set() and cell.incarnation == incarnation and cell.state is not State.STOPPED:
        cell.kill()


def _cell(system: System, address: Address) -> Cell:
    cell = system.cell(address)
    if cell is None:
        raise NoSuchActor(address)
    return cell
