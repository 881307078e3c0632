"""Files a model names beside its text. Contract: agent-loop.md §12.4."""

from __future__ import annotations

import pytest

from goclaw.agent.attach import MOST, collect
from goclaw.agent.sanitise import sanitised
from goclaw.agent.turn import Draft
from goclaw.tools.ledger import Media


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("MEDIA:a.png", "a.png"),
        ("See:\n  MEDIA: out/b c.pdf  \nMEDIA:a.png", "out/b c.pdf|a.png"),
        ("MEDIA:a.png\nMEDIA:a.png", "a.png"),
        ("```\nMEDIA:a.png\n```", ""),
        ("say MEDIA:a.png", ""),
        ("MEDIA:", ""),
        ("media:a.png", ""),
    ],
)
def test_what_a_text_names(text: str, files: str) -> None:
    draft = Draft()
    collect(draft, text)
    assert "|".join(media.path for media in draft.media) == files
    if files:
        assert "MEDIA" not in sanitised(text)


def test_sounds_are_voices_where_the_text_says_so() -> None:
    draft = Draft(media=[Media("known.mp3", "audio/mpeg")])
    collect(draft, "[[audio_as_voice]]\nMEDIA:a.mp3\nMEDIA:b.png\nMEDIA:known.mp3")
    assert [(media.path, media.as_voice) for media in draft.media] == [
        ("known.mp3", False),
        ("a.mp3", True),
        ("b.png", False),
    ]


def test_a_text_names_so_many_at_most() -> None:
    draft = Draft()
    collect(draft, "\n".join(f"MEDIA:{n}" for n in range(100)))
    assert len(draft.media) == MOST
