from __future__ import annotations

import pytest

from goclaw.security.known import Known
from goclaw.security.scrub import MARK, marked, of_headers, preview, scrubbed, secrets_of, telling
from goclaw.settings.database import Database
from goclaw.settings.gateway import Gateway
from goclaw.settings.providers import Provider, Providers
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
    vendor = Provider(
        api_key=Secret("first-key,second-key"),
        api_keys=(Secret("third-key"),),
        headers={"X-Title": Secret("harmless"), "X-Auth": Secret("Bearer fourth-key")},
    )
    settings = Settings(
        gateway=Gateway(token=Secret("door-token")),
        database=Database(dsn=Secret(dsn)),
        providers=Providers(named={"acme": vendor}),
    )
    known = Known(secrets_of(settings)).forms

    said = {"text": ["say door-token to p@ssword", "a door", "second-key, third-key; fourth-key is harmless"]}
    hidden = marked("secret")
    assert scrubbed(said, known) == {
        "text": [f"say {hidden} to {hidden}", "a door", f"{hidden}, {hidden}; {hidden} is harmless"]
    }
    assert scrubbed(dsn, known) == hidden
    assert scrubbed(said) == said


def test_headers_that_tell() -> None:
    headers = {"X-Title": "me", "Authorization": Secret("Bearer abc"), "x-api-key": "k"}

    assert list(of_headers(headers)) == ["Bearer abc", "abc", "k", "k"]


def test_a_preview_is_scrubbed_before_it_is_cut() -> None:
    key = "sk-" + "a" * 40

    assert preview("x" * 110 + f" {key}") == "x" * 110 + " [redacted"


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
    assert scrubbed([f"it is {secret}, really"])[0].startswith("it is [redacted:")
    assert secret not in scrubbed([f"it is {secret}, really"])[0]


@pytest.mark.parametrize("text", ["sk-8", "https://host/a:b", "bearer of news", "agent:default:ws:direct:1", "10:30"])
def test_what_does_not_stays(text: str) -> None:
    assert scrubbed(text) == text
