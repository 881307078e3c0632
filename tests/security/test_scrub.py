from __future__ import annotations

import pytest

from goclaw.security.scrub import MARK, scrubbed, telling


@pytest.mark.parametrize("name", ["key", "api_key", "Authorization", "x-token", "userPassword", "dsn", "set_cookie"])
def test_names_that_tell(name: str) -> None:
    assert telling(name)


@pytest.mark.parametrize("name", ["session_key", "agent_key", "input_tokens", "max_tokens", "text", "name", "tokens"])
def test_names_that_do_not(name: str) -> None:
    assert not telling(name)


def test_secrets_are_found_wherever_they_are() -> None:
    said = {
        "text": "hi",
        "list": [{"token": "t", "n": 1}],
        "secret": {"deep": ["x"]},
        "password": "",
        "session_key": "k",
    }

    assert scrubbed(said) == {
        "text": "hi",
        "list": [{"token": MARK, "n": 1}],
        "secret": MARK,
        "password": "",
        "session_key": "k",
    }
