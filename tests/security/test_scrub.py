from __future__ import annotations

import pytest

from goclaw.security.scrub import MARK, scrubbed, secrets_of, telling
from goclaw.settings.database import Database
from goclaw.settings.gateway import Gateway
from goclaw.settings.section import Secret
from goclaw.settings.settings import Settings


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


def test_what_this_gateway_knows_is_found_in_texts() -> None:
    dsn = "postgresql://goclaw:p%40ssword@db/goclaw"
    settings = Settings(gateway=Gateway(token=Secret("door-token")), database=Database(dsn=Secret(dsn)))
    known = secrets_of(settings)

    assert known == (dsn, "door-token", "p%40ssword", "p@ssword")
    said = {"text": ["say door-token to p@ssword", "a door"]}
    assert scrubbed(said, known) == {"text": [f"say {MARK} to {MARK}", "a door"]}
    assert scrubbed(said) == said


@pytest.mark.parametrize(
    "secret",
    [
        "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----",
        "postgres://u:p@host/db",
        "sk-" + "ant-" + "a" * 20,
        "ghp_" + "a" * 36,
        "AKIA" + "A" * 16,
        "xoxb-" + "1" * 10,
        "12345678:" + "a" * 35,
        "goclaw_" + "0" * 32,
        "eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl",
    ],
)
def test_what_looks_like_a_secret_is_found_in_texts(secret: str) -> None:
    assert scrubbed([f"it is {secret}, really"])[0].startswith(f"it is {MARK}")
    assert secret not in scrubbed([f"it is {secret}, really"])[0]


@pytest.mark.parametrize("text", ["sk-8", "https://host/a:b", "bearer of news", "agent:default:ws:direct:1", "10:30"])
def test_what_does_not_stays(text: str) -> None:
    assert scrubbed(text) == text
