from __future__ import annotations

import msgspec
import pytest

from goclaw.runtime.message import Message
from tests.runtime.house import Say, StartOne


class Named(Message[None]):
    TYPE = "something.else"


def test_a_message_is_frozen_and_takes_keywords_only() -> None:
    with pytest.raises(AttributeError):
        Say(text="a").text = "b"
    with pytest.raises(TypeError):
        Say("a")


def test_the_type_is_module_and_class_unless_it_is_given() -> None:
    assert StartOne.TYPE == "house.start_one"
    assert Named.TYPE == "something.else"


def test_a_message_is_its_own_codec() -> None:
    said = Say(text="hello")

    assert msgspec.json.decode(msgspec.json.encode(said), type=Say) == said
