from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goclaw.runtime.address import Address


def test_segments_are_encoded_once_and_stay_one_segment_each() -> None:
    address = Address("sessions", "acme", "agent:main:ws:direct:a/b c")

    assert address == "/sessions/acme/agent:main:ws:direct:a%2Fb%20c"
    assert address.name == "agent:main:ws:direct:a%2Fb%20c"
    assert Address.parse(address) == address


def test_the_root_has_children_without_a_second_slash() -> None:
    assert Address() == "/"
    assert Address() / "engine" / "lanes" == "/engine/lanes"


@pytest.mark.parametrize("segments", [("",), (".",), ("..",), ("a", ""), ("x" * 501,), ("x",) * 17, ("x" * 400,) * 3])
def test_bad_segments_and_long_paths_are_refused(segments: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"address|segment"):
        Address(*segments)


def test_a_path_must_start_at_the_root() -> None:
    with pytest.raises(ValueError, match="starts with"):
        Address.parse("engine/lanes")


@given(st.text(min_size=1, max_size=40).filter(lambda s: s not in (".", "..")))
def test_any_key_is_one_segment(key: str) -> None:
    try:
        address = Address("sessions", "acme", key)
    except (ValueError, UnicodeEncodeError):
        return  # a lone surrogate, or more than 500 bytes once encoded

    assert address.count("/") == 3
    assert address.isascii()
