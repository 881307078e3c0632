"""One page of the web for an agent: what is asked, what is refused, what comes back. Contract: tools.md §10, §11."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from goclaw.settings.tools import Tools
from goclaw.settings.web import WebFetch
from goclaw.tools.web.cache import FRESH
from goclaw.tools.web.fetching import BODY
from tests.fakes.web.pages import Site, open_site
from tests.tools.web.reader import Reader

VECTORS = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "security" / "ssrf_vectors.jsonl").read_text().splitlines()
]
REFUSED = [(row["class"], url) for row in VECTORS if row["class"] not in ("ok", "resolve") for url in row["urls"]]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as site:
        yield site


def reader(site: Site, **more: Any) -> Reader:
    return Reader(allow_hosts=(f"127.0.0.1:{site.port}", f"good.example:{site.port}"), **more)


async def test_a_page_is_read_as_markdown_under_a_header(site: Site) -> None:
    site.put("/a", "<title>Noodles</title><h1>Phở</h1><p>See <a href='b'>more</a>.</p>", "text/html; charset=utf-8")
    agent = reader(site)

    result = await agent.use("web_fetch", url=site.url("/a"))

    assert result.text == (
        f"URL: {site.url('/a')}\nStatus: 200\nContent-Type: text/html\nTitle: Noodles\n\n"
        f"# Phở\n\nSee [more]({site.url('/b')})."
    )
    source = agent.answers[0].source
    assert source is not None
    assert (source.kind, source.origin) == ("web page", site.url("/a"))


async def test_only_fixed_headers_are_sent(site: Site) -> None:
    """SEC-17. There are no others that another origin could get."""
    site.send("/a", "/b", set_cookie="id=1")
    site.put("/b", "x", "text/plain")

    await reader(site).use("web_fetch", url=site.url("/a#part"))

    assert [request.target for request in site.heard] == ["/a", "/b"]
    for request in site.heard:
        assert request.method == "GET"
        assert set(request.headers) == {"host", "user-agent", "accept", "accept-language", "accept-encoding"}
        assert request.headers["user-agent"] == "GoClaw/0"


@pytest.mark.parametrize(("rule", "url"), REFUSED)
async def test_sec_14_what_must_not_be_asked_is_refused_by_its_class(rule: str, url: str) -> None:
    result = await Reader().use("web_fetch", url=url)
    assert (result.error_code, f"({rule})" in result.text) in {("denied_policy", True), ("invalid_args", False)}
    assert result.error_code == "denied_policy" or len(url) < 8


async def test_sec_14_nothing_on_this_machine_hears_of_it(site: Site) -> None:
    for host in ("127.0.0.1", "127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "localhost", "0"):
        result = await Reader().use("web_fetch", url=f"http://{host}:{site.port}/")
        assert result.error_code == "denied_policy"
    assert site.connections == 0


async def test_sec_15_a_redirect_to_what_is_not_listed_is_refused_at_that_hop(site: Site) -> None:
    async with open_site() as other:
        site.send("/a", other.url("/secret"))
        result = await reader(site).use("web_fetch", url=site.url("/a"))
        assert (result.error_code, "(addr)" in result.text) == ("denied_policy", True)
        assert (len(site.heard), other.connections) == (1, 0)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_five_redirects_are_followed(site: Site, status: int) -> None:
    for step in range(5):
        site.send(f"/{step}", f"/{step + 1}", status)
    site.put("/5", "there", "text/plain")
    result = await reader(site).use("web_fetch", url=site.url("/0"))
    assert f"Final URL: {site.url('/5')}" in result.text
    assert result.text.endswith("\n\nthere")


async def test_sec_15_six_redirects_are_too_many(site: Site) -> None:
    for step in range(7):
        site.send(f"/{step}", f"/{step + 1}")
    result = await reader(site).use("web_fetch", url=site.url("/0"))
    assert (result.error_code, "redirects" in result.text) == ("upstream_error", True)
    assert len(site.heard) == 6


@pytest.mark.parametrize(
    ("there", "rule"),
    [
        ("http://169.254.169.254/latest/", "addr"),
        ("http://metadata.google.internal/", "host"),
        ("file:///etc/passwd", "scheme"),
        ("data:text/plain,hello", "badurl"),
        ("javascript:alert(1)", "badurl"),
        ("http://user@127.0.0.1/", "userinfo"),
        ("//127.1/", "addr"),
        ("http://[", "badurl"),
        ("http://inner.example/", "addr"),
    ],
)
async def test_a_redirect_is_checked_like_the_first_address(site: Site, there: str, rule: str) -> None:
    site.send("/a", there)
    agent = reader(site, test_hosts={"inner.example": [["10.0.0.1"]]})
    result = await agent.use("web_fetch", url=site.url("/a"))
    assert (result.error_code, f"({rule})" in result.text) == ("denied_policy", True)
    assert "10.0.0.1" not in result.text


async def test_every_host_on_the_way_is_asked_about_before_it_is_looked_up(site: Site) -> None:
    """What the policy and operators say of a host (security.md §9.1, §13) holds for redirects, too."""
    site.send("/a", site.url("/b", host="good.example"))
    site.put("/b", "there", "text/plain")
    names = {"good.example": [["127.0.0.1"]]}

    open_way = await reader(site, test_hosts=names).use("web_fetch", url=site.url("/a"))
    assert open_way.text.endswith("there")

    site.heard.clear()
    for url, requests in ((site.url("/a"), 1), (site.url("/b", host="good.example"), 0)):
        result = await reader(site, stopped="good.example", test_hosts=names).use("web_fetch", url=url)
        assert (result.error_code, len(site.heard)) == ("denied_policy", requests)
        assert "good.example is stopped" in result.text
        site.heard.clear()


async def test_sec_16_a_name_is_looked_up_once(site: Site) -> None:
    site.put("/", "here", "text/plain")
    agent = reader(site, test_hosts={"good.example": [["127.0.0.1"], ["169.254.169.254"]]})

    result = await agent.use("web_fetch", url=site.url(host="good.example"))

    assert result.text.endswith("here")
    assert site.heard[0].headers["host"] == f"good.example:{site.port}"
    again = await agent.use("web_fetch", url=site.url("/other", "good.example"))
    assert again.error_code == "denied_policy", "the next fetch looks again, and metadata is never asked"


@pytest.mark.parametrize(
    ("answers", "code"),
    [([["1.1.1.1", "127.0.0.1"]], "denied_policy"), ([["::ffff:10.0.0.1"]], "denied_policy"), ([], "upstream_error")],
)
async def test_sec_16_answers_of_a_resolver(answers: list[list[str]], code: str) -> None:
    result = await Reader(test_hosts={"odd.example": answers}).use("web_fetch", url="http://odd.example/")
    assert result.error_code == code


async def test_sec_19_what_is_listed_is_reached_and_nothing_beside_it(site: Site) -> None:
    site.put("/", "listed", "text/plain")
    async with open_site() as other:
        agent = reader(site)
        assert (await agent.use("web_fetch", url=site.url())).text.endswith("listed")
        assert (await agent.use("web_fetch", url=other.url())).error_code == "denied_policy"
        assert other.connections == 0


async def test_sec_19_our_own_doors_stay_shut_unless_they_are_listed_with_their_port(site: Site) -> None:
    site.put("/", "the gateway", "text/plain")
    doors = {("", site.port)}
    for listed in ({"allow_hosts": ("127.0.0.1",)}, {"allow_cidrs": ("127.0.0.0/8",)}):
        result = await Reader(own=doors, **listed).use("web_fetch", url=site.url())
        assert result.error_code == "denied_policy"
        assert (await Reader(own={("", 1)}, **listed).use("web_fetch", url=site.url())).text.endswith("the gateway")
    assert (await reader(site, own=doors).use("web_fetch", url=site.url())).text.endswith("the gateway")


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "metadata", "metadata.google.internal", "100.100.100.200", "fe80::1"]
)
async def test_sec_19_metadata_is_refused_even_when_it_is_listed(host: str) -> None:
    agent = Reader(allow_hosts=(host,), allow_cidrs=("169.254.0.0/16", "100.64.0.0/10"))
    url = f"http://[{host}]/" if ":" in host else f"http://{host}/"
    assert (await agent.use("web_fetch", url=url)).error_code == "denied_policy"


async def test_domains_are_judged_at_every_hop_and_before_any_lookup(site: Site) -> None:
    site.send("/a", "http://bad.example/")
    rules = WebFetch(blocked_domains=("bad.example", "*.evil.example"))
    agent = reader(site, tools=Tools(web_fetch=rules))

    for url in (site.url("/a"), "http://BAD.example./", "http://x.evil.example/"):
        result = await agent.use("web_fetch", url=url)
        assert (result.error_code, "blocks" in result.text) == ("denied_policy", True), url
    assert (await agent.use("web_fetch", url="http://evil.example.invalid/")).error_code == "upstream_error"


async def test_an_allow_list_of_the_agent_and_one_of_the_operator_hold_both(site: Site) -> None:
    site.put("/", "x", "text/plain")
    narrow = {"policy": "allowlist", "allowed_domains": ["127.0.0.1"]}
    other = {"policy": "allowlist", "allowed_domains": ["*.example"]}
    operator = Tools(web_fetch=WebFetch(policy="allowlist", allowed_domains=("127.0.0.1",)))

    assert not (await reader(site).use("web_fetch", url=site.url(), rules=narrow)).is_error
    assert (await reader(site).use("web_fetch", url=site.url(), rules=other)).error_code == "denied_policy"
    agent = reader(site, tools=operator)
    assert not (await agent.use("web_fetch", url=site.url())).is_error
    assert (await agent.use("web_fetch", url=site.url(), rules=other)).error_code == "denied_policy", (
        "not even kept ones"
    )


async def test_json_and_text_pass_as_they_are(site: Site) -> None:
    site.put("/j", '{"a": [1, 2]}', "application/json")
    site.put("/t", "<b>plain</b>", "text/plain")
    site.put("/r", "<p>raw</p>", "text/html")
    agent = reader(site)
    assert (await agent.use("web_fetch", url=site.url("/j"))).text.endswith('\n\n{"a": [1, 2]}')
    assert (await agent.use("web_fetch", url=site.url("/t"))).text.endswith("\n\n<b>plain</b>")
    assert (await agent.use("web_fetch", url=site.url("/r"), extract="raw")).text.endswith("\n\n<p>raw</p>")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("Phở".encode("utf-16"), "text/plain"),
        ("Phở".encode("utf-8-sig"), "text/html"),
        ("<meta charset=windows-1258>Phở".encode(), "text/html; charset=utf-8"),
        ("<meta charset='utf-8'>Phở".encode(), "text/html"),
        ("Phở".encode(), "text/html; charset=zip"),
    ],
)
async def test_a_page_is_decoded_by_mark_header_and_its_own_word(site: Site, body: bytes, kind: str) -> None:
    site.put("/", body, kind)
    assert "Phở" in (await reader(site).use("web_fetch", url=site.url())).text


async def test_a_long_page_comes_in_parts(site: Site) -> None:
    site.put("/", "".join(f"{n:09}\n" for n in range(100)), "text/plain")
    agent = reader(site)

    first = await agent.use("web_fetch", url=site.url(), max_chars=600)
    rest = await agent.use("web_fetch", url=site.url(), max_chars=600, offset=600)

    assert first.text.endswith("000000059\n\n\nnext_offset: 600 (of 999 characters)")
    assert rest.text.endswith("000000099")
    assert len(site.heard) == 1, "the second part was kept"
    assert (await agent.use("web_fetch", url=site.url(), offset=999)).error_code == "invalid_args"


async def test_the_end_of_a_part_is_what_the_next_one_begins_with(site: Site) -> None:
    """A result that the pipeline cuts in the middle would lose text that no offset brings back."""
    site.put("/", "x" * 200_000, "text/plain")
    result = await reader(site).use("web_fetch", url=site.url(), max_chars=200_000)
    assert "omitted" not in result.text
    assert "next_offset: 47000 " in result.text


@pytest.mark.parametrize(
    ("kind", "body", "told"),
    [
        ("application/pdf", b"%PDF-1.7", "read_document"),
        ("text/plain", b"%PDF-1.7", "read_document"),
        ("image/png", b"\x89PNG", "image/png, 4 bytes"),
        ("text/html", b"a\0b", "not text"),
        ("", b"\x7fELF\0\0", "unknown type, 6 bytes"),
    ],
)
async def test_what_is_no_text_is_told_by_type_and_size(site: Site, kind: str, body: bytes, told: str) -> None:
    site.put("/", body, kind)
    result = await reader(site).use("web_fetch", url=site.url())
    assert result.error_code == "unsupported"
    assert told in result.text


async def test_an_error_page_is_told_with_its_first_words(site: Site) -> None:
    site.put("/", "<h1>Gone</h1>" + "x" * 5000, status=410)
    agent = reader(site)
    result = await agent.use("web_fetch", url=site.url())
    assert result.error_code == "upstream_error"
    assert result.text.startswith("Error: status 410\nGone")
    assert len(result.text) < 1100
    assert agent.answers[0].source is not None, "these are the page's words too"
    await agent.use("web_fetch", url=site.url())
    assert len(site.heard) == 2, "errors are not kept"


async def test_a_body_is_read_no_further_than_its_limit(site: Site) -> None:
    site.put("/said", b"x" * (BODY + 1), "text/plain")
    site.put("/packed", b"ab" * 2**20 * 3, "text/plain", packed=True)
    site.put(
        "/unsaid",
        gzip.compress(b"".join(b"%d" % (n * n) for n in range(900_000)), 1),
        "text/plain",
        content_encoding="gzip",
    )
    agent = reader(site)
    for path, told in (("/said", "bytes"), ("/packed", "100 times"), ("/unsaid", f"more than {BODY}")):
        result = await agent.use("web_fetch", url=site.url(path))
        assert (result.error_code, told in result.text) == ("too_large", True), path


async def test_what_never_ends_is_left(site: Site, autojump_clock: MockClock) -> None:
    async def drip(stream: trio.SocketStream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            await trio.sleep(10)
            await stream.send_all(b"1\r\nx\r\n")

    site.act("/", drip)
    began = trio.current_time()
    result = await reader(site).use("web_fetch", url=site.url())
    assert (result.error_code, trio.current_time() - began) == ("timeout", 30)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 70_000 + b"\r\ncontent-length: 0\r\n\r\n",
        b"garbage\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nabc",
    ],
)
async def test_a_server_that_talks_nonsense_is_an_error_and_no_crash(site: Site, head: bytes) -> None:
    async def talk(stream: trio.SocketStream) -> None:
        await stream.send_all(head or b" ")

    site.act("/", talk)
    result = await reader(site).use("web_fetch", url=site.url())
    assert result.error_code in ("upstream_error", "too_large")


async def test_a_page_is_kept_for_a_while_and_for_its_user_alone(site: Site, mock_clock: MockClock) -> None:
    site.put("/", "x", "text/plain")
    agent = reader(site)
    for user in ("lan", "lan", "minh"):
        await agent.use("web_fetch", user, url=site.url())
    await agent.use("web_fetch", "lan", url=site.url(), extract="text")
    assert len(site.heard) == 3
    mock_clock.jump(FRESH + 1)
    await agent.use("web_fetch", "lan", url=site.url())
    assert len(site.heard) == 4


async def test_a_large_page_does_not_hold_up_the_others(site: Site) -> None:
    """One second of Markdown in a thread: the loop turns all the while. In seconds of processor."""
    site.put("/", "<ul>" + "<li><b>a</b> <a href=x>b</a>" * 40_000)
    longest, last = 0.0, time.process_time()

    async def watch() -> None:
        nonlocal longest, last
        while True:
            await trio.sleep(0.001)
            longest, last = max(longest, time.process_time() - last), time.process_time()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        result = await reader(site).use("web_fetch", url=site.url())
        nursery.cancel_scope.cancel()
    assert not result.is_error
    assert longest < 0.25
