"""One port for everything: peek, guard, limit, drain."""

from goclaw.edge.door.bounded import BodyLimit, Bounded
from goclaw.edge.door.door import Door
from goclaw.edge.door.limits import MESSAGE_BYTES, DoorLimits
from goclaw.edge.door.link import Link, LinkClosed
from goclaw.edge.door.reserve import reserve
from goclaw.edge.door.upgrade import Upgrade

__all__ = ["MESSAGE_BYTES", "BodyLimit", "Bounded", "Door", "DoorLimits", "Link", "LinkClosed", "Upgrade", "reserve"]
