"""The actor page in a real browser. Contract: dashboard.md §7; ids such as DB-11 are those of its §21.

Every test ends by asserting that the page logged no error, broke no policy and lost no request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, Response, expect

from tests.e2e.actor_page import WORKER, details, row, visit
from tests.e2e.browser import Desk
from tests.e2e.stand_in_process import control, running

CROWD = 20_000


@pytest.fixture(scope="module")
def house_url() -> Iterator[str]:
    """800 actors in eight branches, and nobody changes them for good."""
    with running(actors=800) as url:
        yield url


@pytest.fixture(scope="module")
def crowd_url() -> Iterator[str]:
    with running(actors=800, virtual=CROWD) as url:
        yield url


def test_the_grid_is_walked_by_keyboard(page: Page, house_url: str) -> None:
    grid = visit(page, house_url)
    grid.focus()
    active = grid.locator("[data-active=true]")

    page.keyboard.press("ArrowDown")
    page.keyboard.press("*")
    expect(grid).to_have_attribute("aria-rowcount", str(1 + 1 + 8 * 99))  # a head, a root, 8 branches of 98
    page.keyboard.press("ArrowRight")
    expect(active).to_contain_text("syste-000")
    for name, value in {"aria-level": "3", "aria-posinset": "1", "aria-setsize": "98"}.items():
        expect(active).to_have_attribute(name, value)
    assert grid.get_by_role("row").count() < 80
    page.keyboard.press("Space")
    expect(active).to_have_attribute("aria-selected", "true")
    expect(page.get_by_text("One actor is marked.")).to_be_visible()
    page.keyboard.press("Space")

    page.keyboard.press("End")
    expect(active).to_contain_text("edg-097")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(active).to_have_attribute("aria-expanded", "false")
    page.keyboard.press("Enter")
    expect(details(page)).to_contain_text("EdgeSupervisor")
    page.keyboard.press("Escape")
    expect(details(page)).to_have_count(0)
    expect(grid).to_be_focused()
    page.keyboard.press("p")
    expect(page.get_by_role("status").filter(has_text="/edge answered")).to_be_visible()
    page.keyboard.press("c")
    expect(page).to_have_url(re.compile("view=crashes&of=%2Fedge$"))


def test_only_actors_with_problems_and_their_ancestors_remain(page: Page, house_url: str) -> None:
    visit(page, house_url).focus()

    page.keyboard.press(".")
    page.keyboard.press("/")
    page.keyboard.type("cron")

    states = page.locator(".grid-rows .col-state")
    running, busy = "running", re.compile(r"^busy \d+ s: session\.enqueue$")
    expect(states).to_have_text([running, running, running, busy, "backoff", "quarantined", "suspended", "stopped"])
    expect(page.locator(".grid-rows [data-dim=true] .actor-name")).to_have_text(["/", "cron"])
    expect(page).to_have_url(re.compile(r"problems=1&q=cron|q=cron&problems=1"))
    page.reload()
    expect(states).to_have_count(8)
    page.locator(".view-bar").get_by_label("State", exact=True).first.select_option("suspended")
    expect(states).to_have_text([running, running, "suspended"])
    page.get_by_role("button", name="Clear filters").click()
    expect(row(page, "edge")).to_be_visible()


def test_what_is_in_sight_is_read_again_without_its_lasting_fields(page: Page, house_url: str) -> None:
    visit(page, house_url, "?sel=/engine&tab=overview")
    handled = details(page).locator("dl div").filter(has_text="Handled").locator("dd")
    before = handled.inner_text()

    with page.expect_response(re.compile("fields=live")) as live:
        expect(handled).not_to_have_text(before)
    assert "class" not in live.value.json()["root"]
    details(page).press("Escape")
    expect(row(page, "engine").locator(".col-rate")).to_have_text(re.compile(r"\d"))


def test_a_crowd_is_shown_as_counts_and_its_hottest(page: Page, crowd_url: str) -> None:
    """DB-15"""
    largest: list[int] = []

    def weigh(response: Response) -> None:
        if "/v1/actors?" in response.url:
            answer = response.json()
            nodes = [answer.get("root", {"children": answer.get("actors")})]
            for node in nodes:
                largest.append(len(node.get("children") or []))
                nodes.extend(node.get("children") or [])

    page.on("response", weigh)
    grid = visit(page, crowd_url)
    expect(row(page, "sessions")).to_contain_text("20K")
    row(page, "sessions").locator(".twist").click()

    note = page.locator(".grid-note")
    expect(note).to_contain_text("20,000 below; the 50 hottest are shown")
    expect(note).to_contain_text("20,000 SessionActor")
    last = f"/sessions/agent:default:ws:direct:{CROWD - 1}"
    control(crowd_url, "crash", path=last, then="quarantined")
    hot = row(page, last.rpartition("/")[2])
    expect(hot.locator(".col-state")).to_have_text(re.compile("^quarantined"))
    assert grid.get_by_role("row").count() < 80

    note.click()
    search = details(page).get_by_role("searchbox")
    expect(details(page).get_by_text("1–50 of 20,001")).to_be_visible()
    search.fill("agent:default:ws:direct:1234")
    expect(details(page).locator(".children li")).to_have_count(10)
    details(page).get_by_role("link", name="agent:default:ws:direct:12345").click()
    expect(details(page).locator(".path")).to_have_text("/sessions/agent:default:ws:direct:12345")
    expect(details(page)).to_contain_text("SessionActor")
    assert max(largest) <= 200


def test_a_named_actor_of_a_crowd_is_found_by_the_filter(page: Page, crowd_url: str) -> None:
    visit(page, crowd_url)
    page.get_by_placeholder("Filter").fill("/sessions/agent:default:ws:direct:1777")

    expect(row(page, "agent:default:ws:direct:17770")).to_be_visible()
    expect(page.locator(".grid-rows [data-dim=false]")).to_have_count(10)


def test_the_other_views_have_addresses(page: Page, house_url: str) -> None:
    visit(page, house_url, "?view=map")
    expect(page.locator(".map .spot")).to_have_count(9)
    page.locator(".map .spot").filter(has_text="engine").dblclick()
    expect(page.locator(".map .spot").filter(has_text="engin-003")).to_be_visible()

    visit(page, house_url, "?view=hot")
    longest = page.locator(".hot section").filter(has_text="Longest in hand")
    expect(longest.get_by_role("listitem").first).to_contain_text("-005")
    longest.get_by_role("link").first.click()
    expect(details(page)).to_contain_text("busy")

    visit(page, house_url, "?view=dead")
    expect(page.get_by_role("row")).to_have_count(51)
    page.get_by_role("button", name="expired").click()
    expect(page.get_by_role("row")).to_have_count(20)
    expect(page).to_have_url(re.compile("reason=expired"))

    visit(page, house_url, "?path=/cron")
    expect(page.get_by_role("row").nth(1).locator(".actor-name")).to_have_text("cron")
    expect(page.get_by_role("row").nth(1)).to_have_attribute("aria-level", "1")


def test_columns_order_and_density_are_kept(page: Page, house_url: str) -> None:
    visit(page, house_url, "?sel=/engine/engin-001")
    page.get_by_role("columnheader", name="Mailbox").click()
    page.get_by_role("columnheader", name="Mailbox").click()
    below = page.locator(".grid-rows [aria-level='3'] .actor-name")
    expect(below.first).to_have_text("engin-003")
    expect(page).to_have_url(re.compile("sort=-mailbox"))

    page.locator(".menu summary").click()
    page.get_by_label("Memory", exact=True).check()
    page.get_by_label("Class", exact=True).last.uncheck()
    page.get_by_label("Compact rows").check()
    page.reload()

    expect(page.get_by_role("columnheader", name="Memory")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Class")).to_have_count(0)
    assert page.locator(".grid-rows .grid-row").first.bounding_box()["height"] == 24  # type: ignore[index]


@pytest.mark.parametrize("locale", ["vi-VN", "zh-CN", "en-US"])
def test_every_view_fits_a_phone_in_every_language(desk: Callable[..., Desk], house_url: str, locale: str) -> None:
    page = desk(color_scheme="dark", locale=locale, reduced_motion="reduce").page()
    page.set_viewport_size({"width": 320, "height": 640})
    for query in (
        "",
        "?view=map",
        "?view=hot",
        "?view=crashes",
        "?view=crashes&group=1",
        "?view=dead",
        f"?sel={WORKER}&tab=tap",
    ):
        page.goto(f"{house_url}/ui/actors{query}")
        expect(page.locator(".strip")).to_be_visible()
        expect(page.locator(".skeleton")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, query
        assert not re.search(r"\bactors\.[a-z_.]+", page.locator("main").inner_text()), query
