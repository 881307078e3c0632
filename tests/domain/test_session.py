"""Session keys. Contract: sessions-lanes-cron.md §1."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goclaw.domain import address
from goclaw.domain.access import MASTER_TENANT
from goclaw.domain.session import SessionKey, cli_key, key_of, parse_key


@pytest.mark.parametrize(
    ("text", "agent_key", "rest", "channel", "kind"),
    [
        ("agent:scout:main", "scout", "main", "main", "main"),
        ("agent:scout:ws:direct:1", "scout", "ws:direct:1", "ws", "ws"),
        ("agent:scout:telegram:group:-100:topic:7", "scout", "telegram:group:-100:topic:7", "telegram", "group"),
        ("agent:scout:ws:direct:a:group:b", "scout", "ws:direct:a:group:b", "ws", "ws"),
        ("agent:scout:ws:group:7", "scout", "ws:group:7", "ws", "group"),
        ("agent:scout:telegram:direct:7:thread:2", "scout", "telegram:direct:7:thread:2", "telegram", "direct"),
        ("agent:scout:cli:group", "scout", "cli:group", "cli", "cli"),
        ("agent:scout:cron:7:run:8", "scout", "cron:7:run:8", "cron", "cron"),
        ("agent:a:b:", "a", "b:", "b", "direct"),
        ("agent:a::b", "a", ":b", "", "direct"),
        ("agent:a:two words", "a", "two words", "two words", "main"),
        ("agent:a:ghi chú", "a", "ghi chú", "ghi chú", "main"),
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


PART = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=8)
PARTS = {
    "direct": ("telegram", "direct", "{b}"),
    "group": ("slack", "group", "{b}", "thread", "{c}"),
    "ws": ("ws", "direct", "{b}"),
    "http": ("http", "direct", "{b}-01234567"),
    "cli": ("cli", "{b}"),
    "wake": ("wake", "direct", "{b}"),
    "subagent": ("subagent", "{b}"),
    "delegate": ("delegate", "{b}"),
    "team": ("team", "{b}", "{c}"),
    "cron": ("cron", "{b}"),
    "heartbeat": ("heartbeat", "{b}"),
}
LANES = {"subagent": "subagent", "delegate": "team", "team": "team", "cron": "cron", "heartbeat": "cron"}


@given(st.sampled_from(sorted(PARTS)), PART, PART)
def test_a_key_that_is_made_is_read_as_what_it_was_made_as(kind: str, b: str, c: str) -> None:
    key = key_of("scout", *(part.replace("{b}", b).replace("{c}", c) for part in PARTS[kind]))
    try:
        read = parse_key(str(key))
    except ValueError:
        assert not str(key).isprintable(), "a character that is neither printed nor a control character"
        return
    assert read == key
    assert (read.kind, read.lane) == (kind, LANES.get(kind, "main"))


def test_control_characters_and_spaces_of_a_peer_are_encoded() -> None:
    assert str(key_of("scout", "telegram", "direct", "a b\n%:ü")) == "agent:scout:telegram:direct:a%20b%0A%:ü"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("my-session", "agent:scout:cli:my-session"),
        ("agent:other:ws:direct:1", "agent:other:ws:direct:1"),
        ("a b", "a b"),
    ],
)
def test_a_short_name_on_the_command_line_is_a_session_of_the_agent(name: str, key: str) -> None:
    assert cli_key(name, "scout") == key
