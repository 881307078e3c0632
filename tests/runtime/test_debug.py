"""Debug mode: what it finds inside messages."""

from __future__ import annotations

from typing import Any

import pytest

from goclaw.runtime.debug import Checks
from goclaw.runtime.faults import MutableMessage
from goclaw.runtime.message import Message
from goclaw.runtime.values import FrozenMap


class Carry(Message[None]):
    value: Any


def test_a_list_in_a_frozen_map_can_change() -> None:
    with pytest.raises(MutableMessage, match="list"):
        Checks().message(Carry(value=FrozenMap({"k": ["x"]})))

    Checks().message(Carry(value=FrozenMap({"k": ("x", FrozenMap())})))
