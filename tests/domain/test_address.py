"""Where actors live: the path tells the place, whatever is in a name. Contract: supervision.md §2.1, §13."""

from __future__ import annotations

from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from goclaw.domain import address

names = st.text(min_size=1, max_size=50).filter(lambda text: text not in (".", "..") and text.isprintable())


def test_addresses_read_as_the_tree() -> None:
    assert address.session("t", "agent:a:x/y") == "/sessions/t/agent:a:x%2Fy"
    assert address.agent("t", "scout") == "/agents/t/scout"
    assert address.provider("openai") == "/engine/providers/openai"
    assert address.run("main", "r1") == address.lane("main") / "r1" == "/engine/lanes/main/r1"


@given(names, names)
def test_two_sessions_never_share_an_address_and_the_name_can_be_read_back(one: str, other: str) -> None:
    first, second = address.session("t", one), address.session("t", other)
    assert (first == second) == (one == other)
    assert unquote(first.name) == one
    assert first.count("/") == 3
