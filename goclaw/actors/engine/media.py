"""The files that go with an answer, looked at again when the run ends.

Contract: agent-loop.md §12.4, security.md §12.2.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import trio
from msgspec.structs import replace

from goclaw.actors.engine.engine import Engine
from goclaw.agent.turn import Draft
from goclaw.domain.access import SYSTEM_USER
from goclaw.domain.agent import AgentProfile
from goclaw.domain.delivery import Parcel
from goclaw.domain.run import SentFile
from goclaw.domain.session import parse_key
from goclaw.domain.workspace import group_of, link_name, place_of
from goclaw.runtime.actor import Context
from goclaw.security.paths import PathRefused, Workspace
from goclaw.stores.runs import Claimed
from goclaw.tools.fs.delivery import LARGEST
from goclaw.tools.ledger import Media

SHOWN = 200  # characters of a path
GONE = "(not delivered: {})"


@dataclass(frozen=True)
class Sent:
    place: str = ""  # the workspace they lie in
    files: tuple[SentFile, ...] = ()

    @property
    def parcels(self) -> tuple[Parcel, ...]:
        return tuple(
            Parcel(
                workspace=self.place,
                path=file.path,
                content_type=file.content_type,
                caption=file.caption,
                as_voice=file.as_voice,
            )
            for file in self.files
        )


NONE = Sent()


async def sent(ctx: Context, engine: Engine, run: Claimed, agent: AgentProfile | None, draft: Draft) -> Sent:
    """What is there to be delivered. Whoever reads the answer, its agent too, is told of what is not."""
    if not draft.media or agent is None or draft.silent:
        return NONE
    try:
        place = engine.workspace(agent, run.user_id, group_of(parse_key(run.session_key)))
    except OSError:
        return NONE
    base = place_of(engine.defaults.workspace, agent.workspace, SYSTEM_USER).resolve()
    found, gone = await trio.to_thread.run_sync(_checked, place, tuple(draft.media))
    if gone:
        ctx.log.warning("run.media_dropped", run=run.run_id, files=len(gone))
        _say(draft, GONE.format(", ".join(gone)))
    files = tuple(
        SentFile(
            name=link_name(run.tenant_id, agent.key, base, place.root, media.path),
            path=media.path,
            content_type=media.mime,
            size=size,
            caption=media.caption,
            as_voice=media.as_voice,
        )
        for media, size in found
    )
    return Sent(str(place.root), files)


def _checked(place: Workspace, files: Sequence[Media]) -> tuple[list[tuple[Media, int]], list[str]]:
    """Those that may be sent with their sizes, each real file once; and the paths of the others."""
    found: dict[tuple[int, int], tuple[Media, int]] = {}
    gone: list[str] = []
    for media in files:
        try:
            path = place.relative(media.path)
            with place.open(path or media.path) as file:
                stat = os.fstat(file)
        except (OSError, PathRefused):
            gone.append(media.path[:SHOWN])
            continue
        if not path or stat.st_size > LARGEST:
            gone.append(media.path[:SHOWN])
        else:
            found.setdefault((stat.st_dev, stat.st_ino), (replace(media, path=path), stat.st_size))
    return list(found.values()), gone


def _say(draft: Draft, line: str) -> None:
    last = draft.messages[-1]
    text = f"{last.content}\n\n{line}".strip()
    draft.messages[-1] = replace(last, content=text)
    draft.text = text
