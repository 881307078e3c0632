"""Roles and user ids. Contract: edge-auth.md §5, §6."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goclaw.domain.access import Caller, Role, valid_user_id


def test_each_role_may_what_the_ones_below_may() -> None:
    assert [role.label for role in sorted(Role)] == ["anyone", "viewer", "operator", "admin"]
    assert Caller(role=Role.ADMIN).is_admin
    assert not Caller(role=Role.OPERATOR).is_admin


def test_a_caller_is_nobody_unless_somebody_says_otherwise() -> None:
    nobody = Caller()
    assert (nobody.role, nobody.user_id, nobody.is_owner) == (Role.ANYONE, "", False)


@pytest.mark.parametrize(
    "text", ["a", "x" * 255, "名" * 255, "a b", "a\u00a0b", "👩\u200d🚀", "tenant.1.user.2", "\u200bx"]
)
def test_user_ids(text: str) -> None:
    assert valid_user_id(text)


@pytest.mark.parametrize("text", ["", " ", "\u00a0", "x" * 256, "a\n", "\0", "\x1b[0m", "\x9f", "a\u2029", "\udfff"])
def test_no_user_ids(text: str) -> None:
    assert not valid_user_id(text)


@given(st.text())
def test_a_user_id_can_be_stored(text: str) -> None:
    if valid_user_id(text):
        assert "\0" not in text
        assert text.encode().decode() == text
