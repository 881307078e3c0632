"""What chat platforms do for an agent besides taking texts. The port; behind it stand the channels of the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from goclaw.domain.delivery import Ability, Member, Parcel
from goclaw.tools.methods import Asker


class Platforms(Protocol):
    """`channel` is a channel instance of the asker's tenant; `message_id` as the platform or `send` named it.

    Raises `Rejected` (no such channel, another tenant's) and ToolFailed: what the channel cannot do, or did not.
    """

    def offers(self, asker: Asker, channel: str, ability: Ability) -> bool: ...

    async def outgoing(self, asker: Asker, text: str) -> str:
        """What may leave of a text of a model. Raises ToolFailed for one that is withheld (security.md §12.1)."""
        ...

    async def send_files(
        self, asker: Asker, channel: str, chat: str, text: str, files: Sequence[Parcel], *, key: str
    ) -> str:
        """As the method `send`, with files. One `key` is one message; its id."""
        ...

    async def edit(self, asker: Asker, channel: str, chat: str, message_id: str, text: str) -> None: ...
    async def react(self, asker: Asker, channel: str, chat: str, message_id: str, emoji: str) -> None: ...
    async def delete(self, asker: Asker, channel: str, chat: str, message_id: str) -> None: ...
    async def open_topic(self, asker: Asker, channel: str, chat: str, name: str, icon_color: int | None) -> str: ...
    async def members(self, asker: Asker, channel: str, chat: str, limit: int) -> Sequence[Member]: ...
