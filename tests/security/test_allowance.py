"""Private hosts on an operator's list, and what is never on it. Contract: security.md §4.1."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from goclaw.security.allowance import allowance, of_this_machine
from goclaw.security.ssrf import Guard, Refused
from goclaw.settings.load import load
from goclaw.settings.problems import ConfigInvalid
from goclaw.settings.security import door_of


def reached(url: str, *hosts: str, cidrs: tuple[str, ...] = ()) -> bool:
    try:
        Guard(allowed=allowance(hosts, cidrs)).check(url)
    except Refused:
        return False
    return True


@pytest.mark.parametrize(
    ("entry", "url", "passes"),
    [
        ("10.1.2.3", "http://10.1.2.3/", True),
        ("10.1.2.3", "http://10.1.2.3:8080/", True),
        ("10.1.2.3", "http://167838211/", True),
        ("10.1.2.3", "http://[::ffff:10.1.2.3]/", True),
        ("10.1.2.3", "http://10.1.2.4/", False),
        ("10.1.2.3:8080", "http://10.1.2.3:8080/", True),
        ("10.1.2.3:8080", "http://10.1.2.3:8081/", False),
        ("[::1]:8080", "http://[::1]:8080/", True),
        ("::1", "http://[0:0::1]/", True),
        ("wiki.internal", "http://wiki.internal/", True),
        ("WIKI.internal.", "http://wiki.internal./", True),
        ("wiki.internal", "http://x.wiki.internal/", False),
        ("*.corp.internal", "http://a.b.corp.internal/", True),
        ("*.corp.internal", "http://corp.internal/", False),
        ("*.corp.internal", "http://evilcorp.internal/", False),
        ("localhost:8080", "http://localhost:8080/", True),
        ("localhost:8080", "http://localhost/", False),
        ("169.254.169.254", "http://169.254.169.254/", False),
        ("metadata.google.internal", "http://metadata.google.internal/", False),
        ("*.google.internal", "http://metadata.google.internal/", False),
        ("0.0.0.0", "http://0.0.0.0/", False),
        ("192.0.2.1", "http://192.0.2.1/", False),
        ("10.1.2.3:22", "http://10.1.2.3:22/", False),
    ],
)
def test_an_entry(entry: str, url: str, passes: bool) -> None:
    assert reached(url, entry) is passes


def test_a_network_is_about_addresses_and_not_about_names() -> None:
    assert reached("http://10.1.2.3/", cidrs=("10.1.0.0/16",))
    assert not reached("http://10.2.2.3/", cidrs=("10.1.0.0/16",))
    assert not reached("http://wiki.internal/", cidrs=("10.0.0.0/8",))
    assert not reached("http://169.254.169.254/", cidrs=("0.0.0.0/0",))


async def test_a_name_that_is_not_listed_does_not_borrow_an_address_that_is() -> None:
    async def resolve(_host: str) -> list[str]:
        return ["127.0.0.1"]

    guard = Guard(resolve=resolve, allowed=allowance(["127.0.0.1:8080", "good.example"], []))
    assert await guard.addresses("good.example", 8080) == ["127.0.0.1"]
    with pytest.raises(Refused):
        await guard.addresses("evil.example", 8080)


async def test_the_database_is_out_of_reach_by_name_and_by_address() -> None:
    async def resolve(_host: str) -> list[str]:
        return ["10.0.0.5"]

    own = {("db.example", 5432), ("10.0.0.5", 5432)}
    guard = Guard(resolve=resolve, allowed=allowance(["*.example"], ["10.0.0.0/8"], own))
    assert await guard.addresses("db.example", 8080)
    for host in ("db.example", "alias.example", "10.0.0.5"):
        with pytest.raises(Refused):
            await guard.addresses(host, 5432)
    said = Guard(resolve=resolve, allowed=allowance(["db.example:5432"], [], own))
    assert await said.addresses("db.example", 5432)


def test_this_machine_knows_its_own_addresses() -> None:
    assert of_this_machine(ip_address("127.0.0.9"))
    assert of_this_machine(ip_address("::1"))
    assert not of_this_machine(ip_address("192.0.2.1"))


@pytest.mark.parametrize(
    "entry", ["", "http://x/", "a b", "x:y", "x:70000", "[::1", "*.*.x", "a*b", "::1:x:y:z:1:2:3:4:5"]
)
def test_what_is_no_entry_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="is no host"):
        door_of(entry)


@pytest.mark.parametrize(
    ("ssrf", "told"),
    [
        ('{allow_hosts: ["http://x"]}', "is no host or host:port"),
        ('{allow_cidrs: ["10.0.0.1/8"]}', "has host bits set"),
        ('{test_hosts: {"a.example": [["1.1.1.1"]]}}', "needs GOCLAW_ENV=test"),
    ],
)
def test_a_configuration_with_a_bad_entry_is_refused_by_its_key(tmp_path: Path, ssrf: str, told: str) -> None:
    config = tmp_path / "config.json"
    config.write_text(f"{{security: {{ssrf: {ssrf}}}}}")
    with pytest.raises(ConfigInvalid) as invalid:
        load(config, {"GOCLAW_HOME": str(tmp_path)}, {})
    assert told in str(invalid.value)


def test_a_test_may_script_names(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text('{security: {ssrf: {test_hosts: {"a.example": [["1.1.1.1"], ["127.0.0.1"]]}}}}')
    loaded = load(config, {"GOCLAW_HOME": str(tmp_path), "GOCLAW_ENV": "test", "EXA_API_KEY": "k-1"}, {})
    assert loaded.settings.security.ssrf.test_hosts == {"a.example": [["1.1.1.1"], ["127.0.0.1"]]}
    assert loaded.settings.tools.web.exa.api_key.reveal() == "k-1"
