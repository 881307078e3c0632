"""Who is named at the start of a message. Contract: orchestration.md §10.2."""

from __future__ import annotations

import pytest

from goclaw.domain.mention import Mention, Place, mention_in, place_of
from goclaw.domain.session import parse_key


@pytest.mark.parametrize(
    ("message", "mention"),
    [
        ("@ada look here", Mention("ada", "look here", sticks=False)),
        ("  @Ada\n look\nhere ", Mention("ada", "look\nhere", sticks=False)),
        ("@ada\tlook", Mention("ada", "look", sticks=False)),
        ("@ada", Mention("ada", "", sticks=True)),
        ("@@ada", Mention("ada", "", sticks=True)),
        ("@@ada look", Mention("ada", "look", sticks=True)),
        ("@a-1-b look", Mention("a-1-b", "look", sticks=False)),
        ("@ada @bob look", Mention("ada", "@bob look", sticks=False)),
    ],
)
def test_a_name_at_the_start_is_a_mention(message: str, mention: Mention) -> None:
    assert mention_in(message) == mention


@pytest.mark.parametrize(
    "message",
    [
        *("", "hello", "/agent ada", "ask @ada", "ada@example.org", "@", "@@", "@ ada", "@@@ada look"),
        *("@ada, look", "@ada:bob look", "@ada- look", "@-ada look", "@a_b look", "@" + "a" * 101),
    ],
)
def test_other_texts_name_nobody(message: str) -> None:
    assert mention_in(message) is None


def test_a_chat_is_what_a_key_holds_beside_its_agent() -> None:
    one, other = (place_of(parse_key(f"agent:{agent}:telegram:group:-100:topic:5")) for agent in ("ada", "bob"))

    assert one == other == Place("telegram", "group:-100:topic:5")
    assert place_of(parse_key("agent:ada:main")) == Place("main", "")
