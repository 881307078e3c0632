"""The page of scheduled jobs in a real browser, against a real gateway. Contract: dashboard.md §6.3, page 18."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.browser import Desk
from tests.e2e.gateway import Gateway, running
from tests.e2e.test_dashboard_gateway import sign_in


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway of its own, with the offline model."""
    with running(Gateway(tmp_path_factory.mktemp("cron"), {})) as gateway:
        yield gateway


@pytest.fixture
def page(desk: Callable[..., Desk], offline: Gateway) -> Page:
    room = desk()
    room.forgiven.append("400: .*/v1/cron/preview|responded with a status of 400")  # a schedule that cannot be
    page = room.page()
    sign_in(page, offline, "cron")
    return page


def row(page: Page, name: str) -> Locator:
    return page.locator("tr").filter(has=page.get_by_role("button", name=name, exact=True))


def make(page: Page, name: str, message: str = "What time is it?") -> None:
    """A job by the calendar, through the form."""
    page.get_by_role("button", name="New job").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Name").fill(name)
    form.get_by_label("Message to the agent").fill(message)
    form.get_by_label("By calendar").check()
    form.get_by_label("Expression").fill("0 9 * * *")
    form.get_by_label("Time zone").fill("Asia/Ho_Chi_Minh")
    expect(form.locator(".upcoming li")).to_have_count(5)
    form.get_by_role("button", name="Save").click()
    expect(form).to_be_hidden()


def test_a_job_is_made_run_and_its_log_read(page: Page) -> None:
    make(page, "morning", "Say **good morning**")

    expect(row(page, "morning")).to_contain_text("every day at 09:00 0 9 * * * Asia/Ho_Chi_Minh")
    row(page, "morning").get_by_role("button", name="Run now").click()
    expect(row(page, "morning").locator(".status")).to_have_text("done")
    row(page, "morning").get_by_role("button", name="morning", exact=True).click()
    expect(page).to_have_url(re.compile("job="))
    job = page.get_by_role("region", name="Job morning")
    expect(job.locator("strong")).to_have_text("good morning")
    expect(job.locator(".upcoming li")).to_have_count(5)
    expect(job.locator("tbody tr")).to_have_count(1)
    expect(job.locator("tbody tr .status")).to_have_text("done")


def test_an_expression_that_cannot_be_says_why(page: Page) -> None:
    page.get_by_role("button", name="New job").click()
    form = page.get_by_role("dialog")
    form.get_by_label("By calendar").check()

    form.get_by_label("Expression").fill("0 0 9 * * *")

    expect(form.get_by_role("alert")).to_contain_text("5 fields are expected, there are 6")
    form.get_by_label("Expression").fill("*/5 * * * *")
    expect(form.get_by_role("alert")).to_have_count(0)
    expect(form.locator(".upcoming li")).to_have_count(5)


def test_a_job_is_changed_switched_off_copied_and_deleted(page: Page) -> None:
    make(page, "nightly")

    row(page, "nightly").get_by_role("button", name="nightly", exact=True).click()
    job = page.get_by_role("region", name="Job nightly")
    job.get_by_role("button", name="Edit").click()
    form = page.get_by_role("dialog")
    expect(form.get_by_label("Expression")).to_have_value("0 9 * * *")
    form.get_by_label("At an interval").check()
    form.get_by_label("Every").fill("2")
    form.get_by_role("button", name="Save").click()
    expect(row(page, "nightly")).to_contain_text("every 2h 00m")
    row(page, "nightly").get_by_role("button", name="Disable").click()
    expect(row(page, "nightly")).to_contain_text("disabled")
    job.get_by_role("button", name="Duplicate").click()
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(row(page, "nightly-copy")).to_be_visible()
    job.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(row(page, "nightly")).to_have_count(0)


@pytest.mark.parametrize(("language", "title"), [("vi", "Lịch chạy"), ("zh", "定时任务")])
def test_the_page_speaks_three_languages(page: Page, language: str, title: str) -> None:
    page.get_by_role("combobox", name="Language").select_option(language)

    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    expect(page.locator("main")).not_to_contain_text("cron.")
