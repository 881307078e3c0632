"""Session keys. Contract: sessions-lanes-cron.md §1."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goclaw.domain import address
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.session import SessionKey, parse_key


@pytest.mark.parametrize(
    ("text", "agent_key", "rest", "channel", "kind"),
    [
        ("agent:scout:main", "scout", "main", "main", "direct"),
        ("agent:scout:ws:direct:1", "scout", "ws:direct:1", "ws", "direct"),
        ("agent:scout:telegram:group:-100:topic:7", "scout", "telegram:group:-100:topic:7", "telegram", "group"),
        ("agent:scout:ws:direct:a:group:b", "scout", "ws:direct:a:group:b", "ws", "direct"),
        ("agent:scout:cli:group", "scout", "cli:group", "cli", "group"),
        ("agent:a:b:", "a", "b:", "b", "direct"),
        ("agent:a::b", "a", ":b", "", "direct"),
        ("agent:a:two words", "a", "two words", "two words", "direct"),
        ("agent:a:ghi chú", "a", "ghi chú", "ghi chú", "direct"),
    ],
)
def test_a_key_has_an_agent_a_channel_and_a_kind(text: str, agent_key: str, rest: str, channel: str, kind: str) -> None:
    key = parse_key(text)
    assert (key.agent_key, key.rest, key.channel, key.kind) == (agent_key, rest, channel, kind)
    assert str(key) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "agent",
        "agent:",
        "agent:a",
        "agent:a:",
        "agent::x",
        "Agent:a:x",
        " agent:a:x",
        "user:a:x",
        "agent:a:x\n",
        "agent:a:\0",
        "agent:a:\ud800",
        "agent:a:" + "x" * 493,
        "agent:a:" + "名" * 60,
        "agent:a:" + "x" * 1_000_000,
    ],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a session key is"):
        parse_key(text)


@given(st.text(max_size=520), st.sampled_from(["a", "agent-with-a-name"]))
def test_every_key_has_an_address(rest: str, agent_key: str) -> None:
    try:
        key = parse_key(f"agent:{agent_key}:{rest}")
    except ValueError:
        return
    assert key == SessionKey(agent_key, rest)
    assert address.session(MASTER_TENANT, str(key)).startswith("/sessions/")


def test_the_longest_key_has_an_address() -> None:
    key = parse_key("agent:a:" + "x" * 492)
    assert address.session(MASTER_TENANT, str(key)).name == str(key)
