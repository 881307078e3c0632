"""What a lane tells itself, and lanes tell each other."""

from __future__ import annotations

from goclaw.domain.address import lane
from goclaw.domain.run import LANES
from goclaw.runtime.actor import Context
from goclaw.runtime.message import Message
from goclaw.stores.runs import Claimed


class Fill(Message[None]):
    """Claim as many runs as there are slots."""


class Start(Message[None]):
    """A run that was claimed with its acceptance takes the slot that was kept for it."""

    run: Claimed


class Audit(Message[None]):
    """Look for runs that are ours in the database and nowhere else, and for runs that do not end."""


class Measure(Message[None]):
    """Look how long runs wait."""


class Orphaned(Message[None]):
    """A run of ours ended without its last words and its row still says that it runs."""

    run: Claimed
    overdue: bool = False  # it did not end in time


class CutOff(Message[None]):
    """The time to end is over for whoever still runs."""


class SuspectsMayRun(Message[None]):
    """Nobody runs a suspect any more."""


class Pressed(Message[None]):
    """To every lane: this one's saturation has changed."""

    lane: str
    level: int


def tell_lanes(ctx: Context, news: SuspectsMayRun | Pressed) -> None:
    for name in LANES:
        if lane(name) in ctx.system.members:  # at the start some are not there yet
            ctx.tell(lane(name), news)
