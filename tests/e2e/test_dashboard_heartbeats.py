"""The page of heartbeats in a real browser, against a real gateway. Contract: dashboard.md §6.3, page 19."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.browser import Desk
from tests.e2e.gateway import Gateway, running
from tests.e2e.test_dashboard_gateway import sign_in


@pytest.fixture
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway of its own, with the offline model and an agent whose heart does not beat yet."""
    with running(Gateway(tmp_path_factory.mktemp("beats"), {})) as gateway:
        yield gateway


@pytest.fixture
def page(desk: Callable[..., Desk], offline: Gateway) -> Page:
    page = desk().page()
    sign_in(page, offline, "heartbeats")
    return page


def row(page: Page) -> Locator:
    return page.locator(".jobs tbody tr").first  # the default agent's


def test_a_heartbeat_is_set_up_tried_and_read_about(page: Page) -> None:
    expect(row(page)).to_contain_text("not set")
    row(page).get_by_role("button", name="Set up").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Minutes between two beats").fill("45")
    form.get_by_label("Active from").fill("08:00")
    form.get_by_label("until").fill("22:30")
    form.get_by_label("Time zone of the hours").fill("Asia/Ho_Chi_Minh")
    form.get_by_role("button", name="Save").click()
    expect(form).to_be_hidden()
    expect(row(page)).to_contain_text("45m 00s")
    expect(row(page)).to_contain_text("08:00–22:30 Asia/Ho_Chi_Minh")

    row(page).get_by_role("button").first.click()
    detail = page.get_by_role("region")
    expect(detail).to_contain_text("It has not beaten yet.")
    save = detail.get_by_role("button", name="Save checklist")
    expect(save).to_be_disabled()
    detail.get_by_label("Checklist").fill("# Daily\n- [ ] is the backup there?")
    save.click()
    expect(save).to_be_disabled()
    detail.get_by_role("button", name="Test now").click()

    expect(detail.locator("tbody tr .status")).to_have_text("all is well")
    expect(row(page).locator(".status")).to_have_text("all is well")
    page.reload()
    expect(page.get_by_label("Checklist")).to_have_value("# Daily\n- [ ] is the backup there?")

    row(page).get_by_role("button", name="Edit").click()
    form = page.get_by_role("dialog")
    expect(form.get_by_label("Active from")).to_have_value("08:00")
    form.get_by_label("Active from").fill("")
    form.get_by_label("until").fill("")
    form.get_by_role("button", name="Save").click()
    expect(row(page)).not_to_contain_text("08:00")
    row(page).get_by_role("button", name="Disable").click()
    expect(row(page)).to_contain_text("disabled")


def test_what_cannot_be_says_why_and_other_languages_say_it_too(page: Page) -> None:
    row(page).get_by_role("button", name="Set up").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Active from").fill("08:00")
    form.get_by_role("button", name="Save").click()
    expect(form.get_by_role("alert")).to_contain_text("active_hours_end")
    form.get_by_role("button", name="Cancel").click()

    for language, title in (("vi", "Nhịp tim"), ("zh", "心跳")):
        page.get_by_role("combobox").first.select_option(language)
        expect(page.get_by_role("heading", level=1)).to_have_text(title)
        expect(page.locator("main")).not_to_contain_text("beats.")
