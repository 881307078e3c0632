"""Files a model names beside its text. What they are is found out when they are sent. Contract: agent-loop.md §12.4."""

from __future__ import annotations

from goclaw.agent.sanitise import named_files
from goclaw.agent.turn import Draft
from goclaw.tools.ledger import Media, kind_of

AS_VOICE = "[[audio_as_voice]]"
MOST = 20  # files of one text


def collect(draft: Draft, text: str) -> None:
    """The `MEDIA:` lines of a text, which people do not see (§12.1 step 7)."""
    known = {media.path for media in draft.media}
    voice = AS_VOICE in text
    for name in named_files(text)[:MOST]:
        if name not in known:
            known.add(name)
            mime = kind_of(name)
            draft.media.append(Media(path=name, mime=mime, as_voice=voice and mime.startswith("audio/")))
