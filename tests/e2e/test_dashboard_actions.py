"""What can be done to actors on the dashboard. Contract: dashboard.md §7.6, ids such as DB-12 are those of its §21.

Every test ends by asserting that the page logged no error, broke no policy and lost no request.
"""

from __future__ import annotations

import json
import re

from playwright.sync_api import Page, expect

from tests.e2e.actor_page import HUNG, WORKER, details, row, visit
from tests.e2e.stand_in_process import control, running


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
