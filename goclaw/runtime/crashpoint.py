"""Named places where a process can be made to die as if somebody had killed it: `GOCLAW_CRASH_AT=<name>[:n]`.

For proofs that nothing is lost (durability.md §9.1, supervision.md §18). Unarmed, a point costs one comparison.
"""

from __future__ import annotations

import os
import re
import signal

SPEC = re.compile(r"([a-z]+(?:\.[a-z]+)+)(?::([1-9]\d{0,5}))?")

_armed = ""
_left = 0


def arm(spec: str) -> None:
    """Die at the n-th passage (1 unless told) of a point. ValueError for a text that is no `name[:n]`."""
    global _armed, _left
    found = SPEC.fullmatch(spec)
    if found is None:
        raise ValueError(f"{spec!r} is not name[:n], such as step.committed:2")
    _armed, _left = found[1], int(found[2] or 1)


def crash_point(name: str) -> None:
    """A moment between two writes that a proof wants to die in."""
    global _left
    if _armed != name:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
