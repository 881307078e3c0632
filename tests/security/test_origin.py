"""Which web pages may talk to us. Contract: edge-auth.md §3, §8."""

from __future__ import annotations

import pytest

from goclaw.security.origin import dev_allowed, host_name, is_loopback, listed, normal, socket_allowed

NONE: list[str] = []
LIST = ["https://chat.example.com", "http://localhost:3000"]


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (None, "gw.example.com", NONE),
        (None, None, NONE),
        (None, "gw.example.com", LIST),
        ("https://gw.example.com", "gw.example.com", NONE),
        ("https://gw.example.com:3000", "gw.example.com", NONE),
        ("http://gw.example.com", "GW.example.com:18790", NONE),
        ("http://gw.example.com.", "gw.example.com", NONE),
        ("http://192.168.1.5:3000", "192.168.1.5:18790", NONE),
        ("http://[fd00::5]:3000", "[fd00::5]:18790", NONE),
        ("http://localhost:5173", "127.0.0.1:18790", NONE),
        ("http://127.0.0.1:5173", "localhost:18790", NONE),
        ("http://[::1]:5173", "127.8.8.8", NONE),
        ("https://chat.example.com", "gw.example.com", LIST),
        ("HTTPS://Chat.Example.COM:443", "gw.example.com", LIST),
        ("https://evil.example", "gw.example.com", ["*"]),
        ("null", "gw.example.com", ["*"]),
    ],
)
def test_pages_that_may_open_a_socket(origin: str | None, host: str | None, allowed: list[str]) -> None:
    assert socket_allowed(origin, host, allowed)


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("https://evil.example", "gw.example.com", NONE),
        ("https://gw.example.com.evil.example", "gw.example.com", NONE),
        ("https://evilgw.example.com", "gw.example.com", NONE),
        ("https://example.com", "gw.example.com", NONE),
        ("https://gw.example.com@evil.example", "gw.example.com", NONE),
        ("https://gw.example.com/path", "gw.example.com", NONE),
        ("http://localhost:3000", "gw.example.com", NONE),
        ("http://localhost.evil.example", "127.0.0.1", NONE),
        ("http://evil.example", "localhost", NONE),
        ("https://gw.example.com", None, NONE),
        ("https://gw.example.com", "", NONE),
        ("null", "gw.example.com", NONE),
        ("", "", NONE),
        ("null", "null", NONE),
        ("gw.example.com", "gw.example.com", NONE),
        ("http://gw.example.com:99999", "gw.example.com", NONE),
        ("http://[", "[", NONE),
        ("https://gw.example.com", "gw.example.com", LIST),
        ("http://chat.example.com", "gw.example.com", LIST),
        ("https://chat.example.com:8443", "gw.example.com", LIST),
        ("https://sub.chat.example.com", "gw.example.com", LIST),
        ("http://localhost:3001", "localhost", LIST),
        ("null", "gw.example.com", LIST),
        ("null", "gw.example.com", ["null"]),
        ("https://a.example.com", "gw.example.com", ["https://*.example.com"]),
    ],
)
def test_pages_that_may_not_open_a_socket(origin: str | None, host: str | None, allowed: list[str]) -> None:
    assert not socket_allowed(origin, host, allowed)


@pytest.mark.parametrize(
    ("origin", "host", "cross_site"),
    [
        (None, "rebound.example", False),
        (None, None, False),
        ("http://localhost:3000", "127.0.0.1:18790", False),
        ("http://localhost:3000", "127.0.0.1:18790", True),
        ("http://localhost:3000", "box.lan:18790", False),
        ("http://box.lan:3000", "box.lan:18790", False),
        ("http://192.168.1.5", "192.168.1.5:18790", False),
        ("https://chat.example.com", "localhost", False),
    ],
)
def test_without_a_token_the_developers_own_pages_pass(origin: str | None, host: str | None, cross_site: bool) -> None:
    assert dev_allowed(origin, host, LIST, ["192.168.1.5", "box.lan", "::1"], cross_site=cross_site)


@pytest.mark.parametrize(
    ("origin", "host", "cross_site"),
    [
        ("http://evil.example", "127.0.0.1:18790", False),
        ("http://rebound.example", "rebound.example:18790", False),
        ("http://localhost", "rebound.example", False),
        ("https://chat.example.com", "rebound.example", False),
        ("null", "127.0.0.1", False),
        (None, "127.0.0.1", True),
        ("http://localhost", None, False),
    ],
)
def test_without_a_token_every_other_page_is_refused(origin: str | None, host: str | None, cross_site: bool) -> None:
    assert not dev_allowed(origin, host, LIST, ["192.168.1.5", "box.lan", "::1"], cross_site=cross_site)


def test_an_origin_is_compared_without_case_and_default_ports() -> None:
    assert normal("HTTP://A.example:80") == normal("http://a.example") == "http://a.example"
    assert normal("https://a.example:80") == "https://a.example:80"
    assert normal("https://[::1]:443") == "https://[::1]"
    assert listed("http://a.example:80", ["HTTP://A.EXAMPLE"])


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("A.b:1", "a.b"),
        ("[::1]:80", "::1"),
        ("::1", "::1"),
        ("a.b.", "a.b"),
        ("", ""),
        ("a/b", ""),
        ("u@a", ""),
        ("a:x", ""),
    ],
)
def test_the_name_in_a_host_header(host: str, name: str) -> None:
    assert host_name(host) == name


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("localhost", True),
        ("app.localhost", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("", False),
    ],
)
def test_what_is_loopback(name: str, answer: bool) -> None:
    assert is_loopback(name) is answer


@pytest.mark.parametrize("name", ["localhost.example", "mylocalhost", "0x7f.1", "127.0.0.1.example"])
def test_what_only_looks_like_loopback(name: str) -> None:
    assert not is_loopback(name)
