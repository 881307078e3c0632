"""Links that open one file for a while. Contract: edge-auth.md §1, §2.1."""

from __future__ import annotations

import re

import pytest

from goclaw.security.box import Box
from goclaw.security.links import LIFE, Links

NOW = 1_800_000_123.0
NAME = "default/user_a-12345678/out/réport 1.txt"
LINKS = Links(b"k" * 32)


def token(link: str) -> str:
    return link.partition("~")[2].partition("/")[0]


def test_a_link_ends_in_the_name_of_its_file_and_opens_it_for_up_to_an_hour() -> None:
    link = LINKS.to(NAME, NOW)
    assert re.fullmatch(r"/v1/files/~\d+\.[\w-]{43}/default/user_a-12345678/out/r%C3%A9port%201\.txt", link)
    assert LINKS.opens(token(link), NAME, NOW + LIFE / 2)
    assert not LINKS.opens(token(link), NAME, NOW + LIFE)


def test_a_link_stays_the_same_for_a_while() -> None:
    assert LINKS.to(NAME, NOW) == LINKS.to(NAME, NOW + 60)


@pytest.mark.parametrize(
    "name", [NAME.upper(), NAME[:-1], f"{NAME}/", NAME.replace("user_a", "user_b"), "", f"{NAME}\n", "x\n" + NAME]
)
def test_a_link_opens_no_other_file(name: str) -> None:
    assert not LINKS.opens(token(LINKS.to(NAME, NOW)), name, NOW)


def test_what_is_signed_cannot_be_moved_between_the_end_and_the_name() -> None:
    """`1` + `2/x` is not `12` + `/x`."""
    link = token(LINKS.to("2/x", NOW))
    end, _, mac = link.partition(".")
    assert not LINKS.opens(f"{end}2.{mac}", "/x", NOW)


@pytest.mark.parametrize(
    "forged", ["", ".", "~", "1.x", "٣.", "-1.{mac}", "+{end}.{mac}", "0{end}.{mac}", "{end}.{mac}="]
)
def test_what_is_no_token_opens_nothing(forged: str) -> None:
    end, _, mac = token(LINKS.to(NAME, NOW)).partition(".")
    assert not LINKS.opens(forged.format(end=end, mac=mac), NAME, NOW)


def test_keys_are_of_a_purpose_and_the_same_for_all_who_have_ours() -> None:
    box = Box(b"k" * 32)
    assert box.signing("files") == Box(b"k" * 32).signing("files")
    assert len({box.signing("files"), box.signing("other"), Box(b"j" * 32).signing("files"), b"k" * 32}) == 4
    assert Box().signing("files") != Box().signing("files"), "without a key nothing outlives the process"
