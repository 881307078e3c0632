"""Where an agent works for whom. Contract: tools.md §9.1."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goclaw.domain.access import SYSTEM_USER
from goclaw.domain.session import parse_key
from goclaw.domain.workspace import file_name, group_of, place_of, sharing_of

ROOT = Path("/ws")


@pytest.mark.parametrize(
    ("workspace", "user", "group", "sharing", "below"),
    [
        (".", SYSTEM_USER, "", {}, "/ws"),
        ("coder", SYSTEM_USER, "", {}, "/ws/coder"),
        ("/srv/coder", SYSTEM_USER, "", {}, "/srv/coder"),
        (".", "lan", "", {}, "/ws/user_lan-"),
        ("coder", "lan", "", {}, "/ws/coder/user_lan-"),
        ("/srv/coder", "lan", "", {}, "/srv/coder/user_lan-"),
        (".", "lan", "telegram:-1001234", {}, "/ws/user_group_telegram_-1001234-"),
        (".", "group:telegram:-1001234", "", {}, "/ws/user_group_telegram_-1001234-"),
        (".", SYSTEM_USER, "telegram:-1001234", {}, "/ws/user_group_telegram_-1001234-"),
        (".", "lan", "", {"shared_dm": True}, "/ws"),
        (".", "lan", "", {"shared_group": True}, "/ws/user_lan-"),
        (".", "lan", "", {"shared_users": ["minh", "lan"]}, "/ws"),
        (".", "lan", "", {"shared_users": ["minh"]}, "/ws/user_lan-"),
        (".", "lan", "telegram:1", {"shared_group": True}, "/ws"),
        (".", "lan", "telegram:1", {"shared_dm": True}, "/ws/user_group_telegram_1-"),
        (".", "group:telegram:1", "", {"shared_users": ["group:telegram:1"]}, "/ws"),
        (".", "lan", "", {"shared_dm": "yes"}, "/ws/user_lan-"),
        (".", "lan", "", {"shared_users": "lan"}, "/ws/user_lan-"),
        (".", "lan", "", {"share_memory": True, "shared_dm": True}, "/ws"),
        (".", "lan", "", None, "/ws/user_lan-"),
        (".", "../../etc", "", {}, "/ws/user_______etc-"),
    ],
)
def test_each_context_has_its_directory(
    workspace: str, user: str, group: str, sharing: dict[str, Any] | None, below: str
) -> None:
    place = str(place_of(ROOT, workspace, user, sharing_of(sharing), group=group))
    assert re.fullmatch(re.escape(below) + ("[0-9a-f]{8}" if below.endswith("-") else ""), place)


@pytest.mark.parametrize(
    ("key", "group"),
    [
        ("agent:default:telegram:group:-100", "telegram:-100"),
        ("agent:default:telegram:group:-100:topic:5", "telegram:-100"),
        ("agent:default:slack:group:C1:thread:17.5", "slack:C1"),
        ("agent:default:telegram:direct:5", ""),
        ("agent:default:ws:direct:system:1", ""),
        ("agent:default:cron:group:x", ""),
        ("agent:default:main", ""),
    ],
)
def test_a_group_is_one_whatever_its_topics(key: str, group: str) -> None:
    assert group_of(parse_key(key)) == group


@pytest.mark.parametrize(
    ("id", "name"),
    [
        ("lan", "lan-"),
        ("a.b", "a_b-"),
        ("a_b", "a_b-"),
        ("group:telegram:-1001234", "group_telegram_-1001234-"),
        ("../../etc", "______etc-"),
        ("", "-"),
        ("x" * 300, "x" * 200 + "-"),
    ],
)
def test_a_name_shows_the_id_and_ends_in_its_hash(id: str, name: str) -> None:
    assert re.fullmatch(re.escape(name) + "[0-9a-f]{8}", file_name(id))


@given(st.lists(st.text(), unique=True, min_size=2, max_size=20))
def test_no_two_users_share_a_name_and_none_leaves_the_directory(ids: list[str]) -> None:
    names = [file_name(id) for id in ids]
    assert len(set(names)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{9,209}", name) for name in names)
