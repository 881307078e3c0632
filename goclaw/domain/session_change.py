"""What may be changed about a conversation, as its actor understands it. Contract: sessions-lanes-cron.md §2."""

from __future__ import annotations

import msgspec

from goclaw.runtime.message import Message


class Patched(Message[None]):
    pass


class PatchSession(Message[Patched]):
    """Change what is named in `change`, a JSON object: label, model, metadata, queue_mode. Null clears."""

    user_id: str
    as_admin: bool
    change: msgspec.Raw


class Cleared(Message[None]):
    """How many runs were ended."""

    runs: int


class ResetSession(Message[Cleared]):
    """Archive the history, end what works and waits."""

    user_id: str
    as_admin: bool
    received_at: int  # epoch milliseconds; what was sent before it is stale


class DeleteSession(Message[Cleared]):
    """Forget the session and all it ever held."""

    user_id: str
    as_admin: bool


class Compacted(Message[None]):
    """Messages before and after. `skipped`: too few to be worth it, or somebody else is at it."""

    before: int
    after: int
    skipped: bool


class CompactSession(Message[Compacted]):
    """Put a summary in the place of all but the last `keep` messages."""

    user_id: str
    as_admin: bool
    keep: int


class TidySession(Message[Compacted]):
    """From the house: as after a run, put a summary in the place of the older messages if there are too many."""


class TruncateSession(Message[Compacted]):
    """Archive all but the last `keep` messages, without a summary."""

    user_id: str
    as_admin: bool
    keep: int
