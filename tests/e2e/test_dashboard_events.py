"""What the actor page hears between two reads. Contract: dashboard.md §7.1, §7.4; ids such as DB-11 are of its §21.

Every test ends by asserting that the page logged no error, broke no policy and lost no request.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.actor_page import WORKER, details, row, visit
from tests.e2e.stand_in_process import control


def test_a_crash_changes_its_row_and_nothing_is_read_whole(page: Page, own_url: str) -> None:
    """DB-11, the row"""
    visit(page, own_url, f"?sel={WORKER}")
    worker = row(page, "engin-001")
    expect(worker.locator(".col-state")).to_have_text("running")
    whole: list[str] = []
    page.on("request", lambda r: whole.append(r.url) if "/v1/actors?" in r.url and "fields=live" not in r.url else None)

    control(own_url, "crash", path=WORKER, then="nothing", backoff_ms="60000")

    expect(worker.locator(".col-state")).to_have_text(re.compile(r"^restarts in (\d+ s|1m 00s) \(1 of 5 in 60 s\)$"))
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


EVENTS = """async (events) => {
  const here = document.querySelector('script[type=module]').src
  const { Tree } = await import(new URL('actors/tree.mjs', here))
  const tree = new Tree()
  const at = '2026-11-20T09:00:00.000Z'
  const alike = { kind: 'io', state: 'running', restarts_window: 0 }
  const child = { ...alike, path: '/a/b', name: 'b', class: 'W', incarnation: 3, restarts_total: 2, children_total: 0 }
  const root = { ...alike, path: '/a', name: 'a', class: 'S', incarnation: 1, children_total: 1, children: [child] }
  tree.take({ root, generated_at: at })
  tree.apply(events)
  const short = ({ state, incarnation, restarts_total }) => [state, incarnation, restarts_total]
  const seen = Object.fromEntries([...tree.known].map(([path, node]) => [path, short(node)]))
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
    page: Page, own_url: str, events: list[Any], seen: dict[str, Any], children: int
) -> None:
    page.goto(f"{own_url}/ui/")
    expect(page.get_by_text("Connected", exact=True)).to_be_visible()

    found = page.evaluate(EVENTS, events)

    assert found == {"seen": {"/a": ["running", 1, None], **seen}, "children": children}
