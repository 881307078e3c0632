"""Files that go with a message, looked at when it leaves: by then they may be others. Contract: security.md §12.2."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec
import trio
from msgspec.structs import replace

from goclaw.domain.delivery import Courier, Delivery, Parcel, TakesFiles
from goclaw.security.paths import PathRefused, Workspace

NOT_SENT = "({name} could not be sent: {why})"


async def with_files(courier: Courier, delivery: Delivery, barred: Sequence[Path]) -> str:
    """Send a message that has files; one that must not or cannot be sent is named in the text instead."""
    parcels = msgspec.convert(delivery.payload["media"], tuple[Parcel, ...])
    if not isinstance(courier, TakesFiles):
        return await courier.send(_saying(delivery, [(parcel, "this channel takes no files") for parcel in parcels]))
    with ExitStack() as stack:
        found: list[tuple[Parcel, int]] = []
        refused: list[tuple[Parcel, str]] = []
        for parcel in parcels:
            try:
                file = await trio.to_thread.run_sync(_opened, stack, parcel, barred)
            except (OSError, PathRefused):
                refused.append((parcel, "it is not in the workspace any more"))
            else:
                found.append((parcel, file))
        delivery = _saying(delivery, refused)
        return await (courier.send_files(delivery, found) if found else courier.send(delivery))


def _opened(stack: ExitStack, parcel: Parcel, barred: Sequence[Path]) -> int:
    return stack.enter_context(Workspace(Path(parcel.workspace), barred=barred).open(parcel.path))


def _saying(delivery: Delivery, refused: Sequence[tuple[Parcel, str]]) -> Delivery:
    lines = [NOT_SENT.format(name=parcel.name, why=why) for parcel, why in refused]
    text = "\n".join(part for part in (str(delivery.payload.get("text", "")), *lines) if part)
    return replace(delivery, payload={**delivery.payload, "text": text})
