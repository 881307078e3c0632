"""What agents do with chats besides sending texts: files, changes of what was sent, topics, who is there.

Contract: tools.md §10 (messaging). A change is made at once and once; when its end is not heard, that is the answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec
import trio

from goclaw.domain.address import OUTBOX
from goclaw.domain.delivery import (
    ABILITIES,
    NEVER,
    Ability,
    Courier,
    Deletes,
    Edits,
    ListsMembers,
    Member,
    NotDelivered,
    OpensTopics,
    Parcel,
    Post,
    Reacts,
    can,
)
from goclaw.domain.errors import Rejected, forbidden, not_found
from goclaw.operations.context import House
from goclaw.security.leaks import Leaked, unleaked
from goclaw.security.receipts import unreceipted
from goclaw.stores import outbox
from goclaw.tools.methods import Asker
from goclaw.tools.tool import ToolFailed

T = TypeVar("T")

WITHIN = 20.0  # seconds a platform has
LOOKS, BETWEEN = 20, 0.1  # at a message that is just being sent, and seconds between two
INSTEAD: dict[Ability, str] = {
    "files": "channel {channel} takes no files; say in the text where it is",
    "edit": "channel {channel} cannot edit messages; send another one",
    "react": "channel {channel} has no reactions; say it in a message",
    "delete": "channel {channel} cannot delete messages; send a correction",
    "topics": "channel {channel} has no forum topics; write to the chat itself",
    "members": "channel {channel} does not tell who is in a group; ask the people there",
}


def courier_of(house: House, tenant: str, channel: str) -> Courier:
    """Raises `Rejected`."""
    courier = None if channel in NEVER else house.couriers.get((tenant, channel))
    if courier is None:
        if any(name == channel for _, name in house.couriers):
            raise Rejected(forbidden("channel"))
        raise Rejected(not_found("channel", channel))
    return courier


class PlatformsForAgents:
    """Implements `tools.messaging.platforms.Platforms`."""

    def __init__(self, house: House) -> None:
        self._house = house

    def offers(self, asker: Asker, channel: str, ability: Ability) -> bool:
        return can(self._house.couriers.get((asker.tenant_id, channel)), ability)

    async def outgoing(self, asker: Asker, text: str) -> str:
        known, where = self._house.known.forms, {"session": asker.session_key, "surface": "message"}
        try:
            return unreceipted(await unleaked(text, self._house.settings.security.leak_scan, known, **where))
        except Leaked:
            raise ToolFailed("denied_policy", "content_policy: the text holds a secret and was withheld") from None

    async def send_files(
        self, asker: Asker, channel: str, chat: str, text: str, files: Sequence[Parcel], *, key: str
    ) -> str:
        self._able(asker, channel, "files")
        key = f"send:{asker.user_id}:{key}"
        await self._house.system.database.run(
            outbox.put,
            tenant=asker.tenant_id,
            run_id=None,
            seq=0,
            channel_instance=channel,
            chat_id=chat,
            local_key=chat,
            kind="block",
            payload={"text": text, "media": msgspec.to_builtins(files)},
            dedupe_key=key,
        )
        self._house.system.tell(OUTBOX, Post())
        id: str = await self._house.system.database.run(outbox.id_of, tenant=asker.tenant_id, dedupe_key=key)
        return id

    async def edit(self, asker: Asker, channel: str, chat: str, message_id: str, text: str) -> None:
        courier: Edits = self._able(asker, channel, "edit")
        await self._act(courier.edit, chat, await self._named(asker, channel, chat, message_id), text)

    async def react(self, asker: Asker, channel: str, chat: str, message_id: str, emoji: str) -> None:
        courier: Reacts = self._able(asker, channel, "react")
        await self._act(courier.react, chat, await self._named(asker, channel, chat, message_id), emoji)

    async def delete(self, asker: Asker, channel: str, chat: str, message_id: str) -> None:
        courier: Deletes = self._able(asker, channel, "delete")
        await self._act(courier.delete, chat, await self._named(asker, channel, chat, message_id))

    async def open_topic(self, asker: Asker, channel: str, chat: str, name: str, icon_color: int | None) -> str:
        courier: OpensTopics = self._able(asker, channel, "topics")
        return await self._act(courier.open_topic, chat, name, icon_color)

    async def members(self, asker: Asker, channel: str, chat: str, limit: int) -> Sequence[Member]:
        courier: ListsMembers = self._able(asker, channel, "members")
        return (await self._act(courier.members, chat, limit))[:limit]

    def _able(self, asker: Asker, channel: str, ability: Ability) -> Any:
        if channel in NEVER or not channel:
            raise ToolFailed("unsupported", INSTEAD[ability].format(channel=channel or "of this run"))
        courier = courier_of(self._house, asker.tenant_id, channel)
        if not isinstance(courier, ABILITIES[ability]):
            raise ToolFailed("unsupported", INSTEAD[ability].format(channel=channel))
        return courier

    async def _named(self, asker: Asker, channel: str, chat: str, message_id: str) -> str:
        """The platform's id of what was sent through here, and any other id as it is."""
        state = "SENDING"
        for _ in range(LOOKS):
            known = await self._house.system.database.run(
                outbox.sent_as, tenant=asker.tenant_id, channel=channel, chat=chat, id=message_id
            )
            if known is None:
                return message_id
            if known.external_id is not None:
                return str(known.external_id)
            state = known.state
            if state != "SENDING":
                break
            await trio.sleep(BETWEEN)
        raise ToolFailed("conflict", f"message {message_id} has not arrived yet ({state}); try again later")

    async def _act(self, act: Callable[..., Awaitable[T]], *args: Any) -> T:
        try:
            with trio.fail_after(WITHIN):
                return await act(*args)
        except trio.TooSlowError:
            raise ToolFailed("timeout", f"no answer within {WITHIN:g} s; it may have happened") from None
        except NotDelivered as refusal:
            doubt = "; it may have happened" if refusal.unknown else ""
            raise ToolFailed("upstream_error", f"the platform did not do it: {refusal}{doubt}") from None
