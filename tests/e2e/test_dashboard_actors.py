"""The actor page in a real browser. Contract: dashboard.md §7; ids such as DB-12 are those of its §21.

Every test ends by asserting that the page logged no error, broke no policy and lost no request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Response, expect

from tests.e2e.browser import Desk
from tests.e2e.stand_in_process import control, running

WORKER = "/engine/engin-001"
HUNG = "/engine/engin-005"  # never finishes the message in hand
CROWD = 20_000


@pytest.fixture(scope="module")
def house_url() -> Iterator[str]:
    """800 actors in eight branches, and nobody changes them for good."""
    with running(actors=800) as url:
        yield url


@pytest.fixture
def own_url() -> Iterator[str]:
    """The same house for one test alone."""
    with running(actors=200) as url:
        yield url


@pytest.fixture(scope="module")
def crowd_url() -> Iterator[str]:
    with running(actors=800, virtual=CROWD) as url:
        yield url


@pytest.fixture
def page(desk: Callable[..., Desk]) -> Page:
    return desk().page()


def visit(page: Page, url: str, query: str = "") -> Locator:
    """The page's grid (or what stands in its place), read once."""
    page.goto(f"{url}/ui/actors{query}")
    expect(page.locator(".strip .figure").first).to_contain_text("actors")
    return page.get_by_role("treegrid")


def details(page: Page) -> Locator:
    return page.get_by_role("complementary", name="Actor details")


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("row").filter(has=page.locator(".actor-name", has_text=re.compile(f"^{re.escape(name)}$")))


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


def test_a_crash_changes_its_row_and_nothing_is_read_whole(page: Page, own_url: str) -> None:
    """DB-11, the row"""
    visit(page, own_url, f"?sel={WORKER}")
    worker = row(page, "engin-001")
    expect(worker.locator(".col-state")).to_have_text("running")
    whole: list[str] = []
    page.on("request", lambda r: whole.append(r.url) if "/v1/actors?" in r.url and "fields=live" not in r.url else None)

    control(own_url, "crash", path=WORKER, then="nothing", backoff_ms="60000")

    expect(worker.locator(".col-state")).to_have_text(re.compile(r"^restarts in \d+ s$|^restarts in 1m 00s$"))
    expect(worker.locator(".col-restarts")).to_have_text("1 (1 new)")
    assert whole == []
    control(own_url, "crash", path=WORKER)
    expect(worker.locator(".col-state")).to_have_text("running")
    expect(page.locator(".strip .restarts")).to_contain_text("restarts, last hour")


def test_three_crashes_are_three_rows_and_one_cause(page: Page, own_url: str) -> None:
    """DB-11, the log"""
    visit(page, own_url).focus()
    page.get_by_role("link", name="Crashes", exact=True).click()
    page.get_by_label("Path").fill("/cron/cro-000")
    page.get_by_label("Path").press("Enter")
    expect(page.get_by_text("Nothing crashed.")).to_be_visible()

    for _ in range(3):
        control(own_url, "crash", path="/cron/cro-000", then="quarantined")

    crashed = page.locator(".crash[data-event=crashed]")
    expect(crashed).to_have_count(3)  # told, not read
    page.reload()
    expect(crashed).to_have_count(3)
    crashed.first.get_by_role("button").click()
    expect(page.locator(".crash-detail pre")).to_contain_text("KeyError: 'reply_to'")
    page.get_by_label("Group by cause").check()
    expect(page.locator(".causes tbody tr")).to_have_count(1)
    expect(page.locator(".causes tbody td").nth(3)).to_have_text("1")
    page.get_by_role("link", name="KeyError").click()
    expect(page.locator(".crash")).to_have_count(6)  # three crashes, three quarantines


def test_a_restart_says_what_users_notice_and_is_done_when_the_actor_is_back(page: Page, own_url: str) -> None:
    """DB-12"""
    grid = visit(page, own_url, "?sel=/sessions/session-002")
    expect(row(page, "session-002")).to_have_attribute("data-active", "true")
    grid.focus()
    page.keyboard.press("r")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("/sessions/session-002")
    expect(dialog).to_contain_text("callers may wait")
    dialog.get_by_label("Reason").fill("stuck since noon")
    dialog.get_by_label("Seconds to finish").fill("61")
    expect(dialog.get_by_role("button", name="Restart")).to_be_disabled()
    dialog.get_by_label("Seconds to finish").fill("3")

    dialog.get_by_role("button", name="Restart").click()

    expect(page.get_by_role("status").filter(has_text="/sessions/session-002 restarted, incarnation 2")).to_be_visible()
    [order] = control(own_url, "orders")
    assert order == {
        "path": "/sessions/session-002",
        **{"verb": "restart", "mode": "graceful", "timeout_ms": 3000, "reason": "stuck since noon"},
    }


def test_a_restart_that_does_not_come_offers_to_kill(page: Page, own_url: str) -> None:
    page.clock.install()
    visit(page, own_url, f"?sel={HUNG}&tab=overview")
    details(page).get_by_role("button", name="Restart").click()
    page.clock.run_for(600)
    page.get_by_role("dialog").get_by_role("button", name="Restart").click()
    expect(details(page).locator(".state-line")).to_contain_text("restarting")

    page.clock.run_for(10_500)
    page.get_by_role("status").filter(has_text="did not restart in time").get_by_role("button", name="Kill").click()
    dialog = page.get_by_role("dialog")
    page.clock.run_for(600)
    expect(dialog.get_by_role("button", name="Kill")).to_be_disabled()
    dialog.get_by_label("Type Worker to confirm").fill("Worker")
    dialog.get_by_role("button", name="Kill").click()

    page.clock.run_for(600)
    expect(page.get_by_role("status").filter(has_text="restarted, incarnation 2")).to_be_visible()
    assert [order["mode"] for order in control(own_url, "orders")] == ["graceful", "kill"]


def test_an_actor_that_restarted_while_the_dialog_was_open_is_asked_about_again(page: Page, own_url: str) -> None:
    """DB-14"""
    visit(page, own_url, f"?sel={WORKER}&tab=overview")
    details(page).get_by_role("button", name="Restart").click()
    control(own_url, "crash", path=WORKER)
    expect(details(page).locator("dl div").filter(has_text="Incarnation").locator("dd")).to_have_text("2")
    dialog = page.get_by_role("dialog")

    dialog.get_by_role("button", name="Restart").click()
    expect(dialog.get_by_role("alert")).to_contain_text("now incarnation 2")
    assert control(own_url, "orders") == []

    dialog.get_by_role("button", name="Restart").click()
    expect(dialog).to_have_count(0)
    assert len(control(own_url, "orders")) == 1


def test_what_cannot_be_acted_upon_says_why(page: Page, own_url: str) -> None:
    """DB-13"""
    for path, why in {
        "/": "The root is the gateway itself",
        "/engine": "First-level supervisors",
        "/engine/engin-006": "A temporary actor",
        "/agents/~ab12cd34": "belongs to somebody else",
    }.items():
        visit(page, own_url, f"?sel={path}&tab=overview")
        expect(details(page).get_by_role("button", name="Restart")).to_be_disabled()
        expect(details(page).locator("#refused")).to_contain_text(why)


def test_an_operator_looks_and_probes_only(page: Page) -> None:
    with running(role="operator") as url:
        visit(page, url, f"?sel={WORKER}&tab=tap")
        for name in ("Restart", "Kill", "Suspend", "Stop"):
            expect(details(page).get_by_role("button", name=name)).to_be_disabled()
        expect(details(page).get_by_role("button", name="Listen")).to_have_count(0)
        details(page).get_by_role("button", name="Probe").click()
        expect(page.get_by_role("status").filter(has_text="answered: waited 0 ms, handled in 1 ms")).to_be_visible()
        page.goto("about:blank")


def test_suspend_resume_stop_and_a_probe_without_answer(page: Page, own_url: str) -> None:
    visit(page, own_url, f"?sel={WORKER}&tab=overview")
    state, dialog = details(page).locator(".state-line"), page.get_by_role("dialog")

    def order(name: str) -> None:
        details(page).get_by_role("button", name=name, exact=True).click()
        dialog.get_by_role("button", name=name, exact=True).click()

    order("Suspend")
    expect(state).to_have_text(re.compile("suspended by system"))
    order("Resume")
    expect(state).to_have_text(re.compile("running"))
    details(page).get_by_role("button", name="Stop", exact=True).click()
    expect(dialog).to_contain_text("returns with its next message")
    dialog.get_by_label("Type Worker").fill("Worker")
    dialog.get_by_role("button", name="Stop", exact=True).click()
    expect(state).to_have_text(re.compile("stopped by"))

    visit(page, own_url, f"?sel={HUNG}&tab=overview")
    details(page).get_by_role("button", name="Probe").click()
    expect(page.get_by_role("status").filter(has_text="no answer in 1 s")).to_be_visible()


def test_a_tap_asks_twice_for_bodies_and_can_be_kept(page: Page, own_url: str) -> None:
    visit(page, own_url, f"?sel={WORKER}&tab=tap")
    panel = details(page).get_by_role("tabpanel")
    panel.get_by_label("with bodies").check()
    panel.get_by_role("button", name="Listen").click()
    page.get_by_role("dialog").get_by_role("button", name="Record bodies").click()

    expect(panel.get_by_text("5 messages recorded")).to_be_visible()
    expect(panel.get_by_role("row").nth(1)).to_contain_text("session.enqueue")
    with page.expect_download() as download:
        panel.get_by_role("button", name="Download").click()
    lines = [json.loads(line) for line in download.value.path().read_text().splitlines()]
    assert len(lines) == 5
    assert lines[0]["body"] == {"text": "hello"}


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
    expect(row(page, "sessions")).to_contain_text("20,000")
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


def test_one_that_ended_leaves_the_tree_and_keeps_its_story(page: Page, own_url: str) -> None:
    path = "/agents/agent-002"
    visit(page, own_url, f"?sel={path}&tab=overview")
    expect(details(page)).to_contain_text("Worker")
    control(own_url, "crash", path=path)
    expect(details(page).locator("dl div").filter(has_text="Incarnation").locator("dd")).to_have_text("2")

    control(own_url, "end", path=path)

    expect(details(page)).to_contain_text("This actor has ended; its last incarnation was 2.")
    expect(details(page).locator(".crash[data-event=crashed]").first).to_be_visible()
    expect(row(page, "agent-002")).to_have_count(0)


def test_after_a_broken_link_the_tree_is_whole_again_and_the_selection_stands(page: Page, own_url: str) -> None:
    visit(page, own_url, f"?sel={WORKER}&tab=overview")
    expect(row(page, "engin-001")).to_have_attribute("data-active", "true")
    control(own_url, "drop")
    control(own_url, "crash", path=WORKER)  # nobody hears it

    expect(page.get_by_text("Connected", exact=True)).to_be_visible()
    expect(details(page).locator("dl div").filter(has_text="Incarnation").locator("dd")).to_have_text("2")
    expect(row(page, "engin-001")).to_have_attribute("data-active", "true")


def test_quarantined_actors_are_restarted_one_after_another(page: Page, own_url: str) -> None:
    visit(page, own_url)
    page.get_by_role("button", name="Restart quarantined actors").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".progress li")).to_have_count(8)

    dialog.get_by_role("button", name="Restart 8").click()

    expect(dialog.locator(".progress [data-fate=done]")).to_have_count(8)
    orders = control(own_url, "orders")
    assert [order["path"].rpartition("-")[2] for order in orders] == ["011"] * 8
    dialog.get_by_role("button", name="Close").click()
    expect(page.get_by_role("button", name="Restart quarantined actors")).to_have_count(0)


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


EVENTS = """async (events) => {
  const here = document.querySelector('script[type=module]').src
  const { Tree } = await import(new URL('actors/tree.mjs', here))
  const tree = new Tree()
  const at = '2026-11-20T09:00:00.000Z'
  const child = { path: '/a/b', name: 'b', class: 'W', kind: 'io', state: 'running', incarnation: 3, restarts_total: 2, restarts_window: 0, children_total: 0 }
  const root = { path: '/a', name: 'a', class: 'S', state: 'running', incarnation: 1, children_total: 1, children: [child] }
  tree.take({ root, generated_at: at })
  tree.apply(events)
  const seen = Object.fromEntries([...tree.known].map(([path, { state, incarnation, restarts_total }]) => [path, [state, incarnation, restarts_total]]))
  return { seen, children: tree.known.get('/a').children_total }
}"""


def event(name: str, incarnation: int, path: str = "/a/b", **more: Any) -> list[Any]:
    return [f"actor.{name}", {"path": path, "class": "W", "kind": "io", "incarnation": incarnation, **more}]


@pytest.mark.parametrize(
    ("events", "seen", "children"),
    [
        pytest.param([event("crashed", 3)], {"/a/b": ["backoff", 3, 2]}, 1, id="a crash"),
        pytest.param([event("crashed", 3), event("restarted", 4)], {"/a/b": ["running", 4, 3]}, 1, id="and back"),
        pytest.param([event("crashed", 2)], {"/a/b": ["running", 3, 2]}, 1, id="of an older life"),
        pytest.param(
            [event("crashed", 3, at="2026-11-20T08:59:59.000Z")],
            {"/a/b": ["running", 3, 2]},
            1,
            id="older than the tree",
        ),
        pytest.param([event("stopped", 3)], {}, 0, id="ended by itself"),
        pytest.param([event("stopped", 3, by="lan")], {"/a/b": ["stopped", 3, 2]}, 1, id="stopped by somebody"),
        pytest.param(
            [event("started", 1, "/a/c")], {"/a/b": ["running", 3, 2], "/a/c": ["running", 1, 0]}, 2, id="a new one"
        ),
        pytest.param([event("started", 1, "/x/y")], {"/a/b": ["running", 3, 2]}, 1, id="of a branch not shown"),
    ],
)
def test_events_change_the_tree_once_and_never_backwards(
    page: Page, house_url: str, events: list[Any], seen: dict[str, Any], children: int
) -> None:
    page.goto(f"{house_url}/ui/")
    expect(page.get_by_text("Connected", exact=True)).to_be_visible()

    found = page.evaluate(EVENTS, events)

    assert found == {"seen": {"/a": ["running", 1, None], **seen}, "children": children}
