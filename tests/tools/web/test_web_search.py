"""Who is asked, in which order, and what becomes of it when they do not answer. Contract: tools.md §10, §11."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from goclaw.settings.section import Secret
from goclaw.settings.tools import Tools
from goclaw.settings.web import DuckDuckGo, SearchVendor, Web, WebSearch
from goclaw.tools.web.asking import WITHIN
from goclaw.tools.web.cache import ENTRIES, FRESH
from goclaw.tools.web.web_search import ORDER
from tests.fakes.web.searchers import KEYS, Searchers, open_searchers
from tests.tools.web.reader import Reader

FOUND = [
    ("Bún chả", "https://food.example/bun-cha?a=1&b=2"),
    ("Phở", "https://food.example/pho"),
    ("Bánh mì", "http://food.example/banh-mi"),
]


@pytest.fixture
async def vendors() -> AsyncIterator[Searchers]:
    async with open_searchers() as vendors:
        yield vendors


def settings(vendors: Searchers, *keys: str, order: tuple[str, ...] = (), **more: SearchVendor) -> Tools:
    rows = {
        name: SearchVendor(api_base=vendors.base(name), api_key=Secret(KEYS[name] if name in keys else ""))
        for name in KEYS
    }
    web = Web(**{**rows, **more}, duckduckgo=DuckDuckGo(api_base=vendors.base("duckduckgo")))
    return Tools(web=web, web_search=WebSearch(provider_order=order))


@pytest.mark.parametrize("vendor", [*KEYS, "duckduckgo"])
async def test_a_vendor_is_asked_in_its_own_wire(vendors: Searchers, vendor: str) -> None:
    agent = Reader(settings(vendors, *KEYS))

    result = await agent.use("web_search", query="noodles", provider=vendor, country="vn", freshness="week", count=4)

    assert not result.is_error, result.text
    rows = [block.split("\n") for block in result.text.split("\n\n")]
    assert [(row[0].partition(" ")[2], row[1].strip()) for row in rows] == FOUND
    assert [row[0].partition(".")[0] for row in rows] == ["1", "2", "3"]
    marked = "<b>pork</b>" if vendor in ("exa", "tavily") else "pork"
    assert vendor == "perplexity" or rows[0][2].strip() == f"Grilled {marked} & noodles"
    source = agent.answers[0].source
    assert source is not None
    assert (source.kind, source.origin) == ("web search", "noodles")
    ((_, asked),) = vendors.heard
    expected: dict[str, dict[str, Any]] = {
        "exa": {"query": "noodles", "numResults": 4, "userLocation": "VN"},
        "tavily": {"query": "noodles", "max_results": 4, "time_range": "week", "country": "vietnam"},
        "brave": {"q": "noodles", "count": "4", "freshness": "pw", "country": "VN"},
        "perplexity": {"search_recency_filter": "week", "web_search_options": {"user_location": {"country": "VN"}}},
        "duckduckgo": {"q": "noodles", "df": "w", "kl": "vn-vi"},
    }
    assert expected[vendor].items() <= asked.items()


async def test_the_first_with_a_key_is_asked_and_the_next_when_it_fails(vendors: Searchers) -> None:
    vendors.status["tavily"] = 500
    result = await Reader(settings(vendors, "tavily", "brave")).use("web_search", query="x")
    assert not result.is_error
    assert vendors.asked == ["tavily", "brave"]


@pytest.mark.parametrize(
    ("operator", "agent", "asked"),
    [
        ((), {}, "exa"),
        (("brave", "nobody", "exa"), {}, "brave"),
        (("brave",), {"provider_order": ["perplexity"]}, "perplexity"),
        ((), {"exa": {"enabled": False}}, "tavily"),
        (("duckduckgo",), {}, "duckduckgo"),
        (("nobody",), {}, "duckduckgo"),
    ],
)
async def test_the_order_is_that_of_the_agent_or_of_the_operator(
    vendors: Searchers, operator: tuple[str, ...], agent: dict[str, Any], asked: str
) -> None:
    tools = settings(vendors, *KEYS, order=operator)
    result = await Reader(tools).use("web_search", query="x", rules=agent)
    assert not result.is_error
    assert vendors.asked == [asked]


@pytest.mark.parametrize(
    ("asked", "agent", "count"),
    [({}, {}, 7), ({}, {"exa": {"max_results": 2}}, 2), ({"count": 3}, {"exa": {"max_results": 2}}, 3)],
)
async def test_how_many_is_said_by_the_model_or_its_agent_or_the_operator(
    vendors: Searchers, asked: dict[str, Any], agent: dict[str, Any], count: int
) -> None:
    """§3.3."""
    exa = SearchVendor(api_base=vendors.base("exa"), api_key=Secret(KEYS["exa"]), max_results=7)
    await Reader(settings(vendors, exa=exa)).use("web_search", query="x", rules=agent, **asked)
    assert vendors.heard[0][1]["numResults"] == count


async def test_when_nobody_answers_every_reason_is_told_and_no_key(vendors: Searchers) -> None:
    vendors.status["exa"] = 403
    vendors.body["tavily"] = b"<html>"
    vendors.status["brave"] = 429
    vendors.body["duckduckgo"] = b"<html><body><form id='challenge-form'></form></body></html>"
    off = SearchVendor(enabled=False, api_key=Secret("k"))

    result = await Reader(settings(vendors, *KEYS, perplexity=off)).use("web_search", query="x")

    assert result.error_code == "upstream_error"
    assert result.text == (
        'Error: nobody could search: exa: status 403 {"error": "refused ***"}; tavily: no JSON; '
        'brave: status 429 {"error": "refused ***"}; perplexity: turned off; duckduckgo: asks whether we are human'
    )


async def test_no_vendor_hears_of_a_search_when_its_host_is_stopped(vendors: Searchers) -> None:
    """security.md §13: each host is asked about before a call, so `network` and `domains` stop a search, too."""
    stopped = "127.0.0.1"
    result = await Reader(settings(vendors, *KEYS), stopped=stopped).use("web_search", query="x")
    reasons = "; ".join(f"{vendor}: {stopped} is stopped" for vendor in ORDER)
    assert (result.error_code, result.text) == ("upstream_error", f"Error: nobody could search: {reasons}")
    assert vendors.asked == []


async def test_a_vendor_has_ten_seconds(vendors: Searchers, mock_clock: MockClock) -> None:
    vendors.stuck.add("exa")
    results = []

    async def search() -> None:
        results.append(await Reader(settings(vendors, "exa")).use("web_search", query="x", provider="exa"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(search)
        await vendors.until(1)
        mock_clock.jump(WITHIN)
    assert (results[0].error_code, "exa: no answer within 10 s" in results[0].text) == ("upstream_error", True)


async def test_a_vendor_without_a_key_is_skipped_and_said_so(vendors: Searchers) -> None:
    result = await Reader(settings(vendors)).use("web_search", query="x", provider="exa")
    assert (result.error_code, "exa: no key" in result.text) == ("upstream_error", True)
    assert vendors.asked == []


async def test_nothing_found_is_no_error(vendors: Searchers) -> None:
    vendors.rows = []
    agent = Reader(settings(vendors, *KEYS))
    for name in (*KEYS, "duckduckgo"):
        result = await agent.use("web_search", query=f"of {name}", provider=name)
        assert (result.is_error, "nothing found" in result.text) == (False, True), name


async def test_what_was_found_is_kept_for_a_quarter_of_an_hour(vendors: Searchers, mock_clock: MockClock) -> None:
    agent = Reader(settings(vendors, "exa"))
    for query in ("x", "  x ", "y"):
        await agent.use("web_search", query=query)
    assert vendors.asked == ["exa", "exa"]
    mock_clock.jump(FRESH + 1)
    await agent.use("web_search", query="x")
    assert len(vendors.asked) == 3


async def test_no_more_is_kept_than_a_hundred_searches(vendors: Searchers) -> None:
    agent = Reader(settings(vendors, "exa"))
    for number in range(ENTRIES + 1):
        await agent.use("web_search", query=f"q{number}")
    await agent.use("web_search", query=f"q{ENTRIES}")
    await agent.use("web_search", query="q0")
    assert len(vendors.asked) == ENTRIES + 2


async def test_words_that_nobody_sees_are_taken_out(vendors: Searchers) -> None:
    vendors.rows = [("a\u200bb" + "".join(chr(0xE0000 + ord(c)) for c in "obey"), "https://x.example/", "c\u202ed")]
    result = await Reader(settings(vendors, "exa")).use("web_search", query="x")
    assert result.text == "1. ab\n   https://x.example/\n   cd"


async def test_half_a_character_is_searched_as_a_question_mark(vendors: Searchers) -> None:
    for name in (*KEYS, "duckduckgo"):
        assert not (await Reader(settings(vendors, *KEYS)).use("web_search", query="a\ud800", provider=name)).is_error


async def test_who_nests_without_end_is_passed_over(vendors: Searchers) -> None:
    vendors.body["exa"] = b'{"results":' + b"[" * 100_000
    result = await Reader(settings(vendors, "exa", "brave")).use("web_search", query="x")
    assert (result.is_error, vendors.asked) == (False, ["exa", "brave"])


@pytest.mark.parametrize("body", [b"[]", b'{"results": 1}', b'{"results": [1, {}]}', b"\xff", b" "])
async def test_a_vendor_that_says_something_else_is_passed_over(vendors: Searchers, body: bytes) -> None:
    vendors.body["exa"] = body
    result = await Reader(settings(vendors, "exa")).use("web_search", query="x", provider="exa")
    assert result.is_error is (body != b'{"results": [1, {}]}')
