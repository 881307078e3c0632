"""What provider actors understand."""

from __future__ import annotations

from typing import Any

from goclaw.runtime.message import Message


class BorrowProvider(Message[Any]):
    """The provider's client, to stream from in the asker's own task. Stays on this node."""
