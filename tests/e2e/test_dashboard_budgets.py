"""The page of budgets in a real browser, against a real gateway. Contract: providers.md §18."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.browser import Desk
from tests.e2e.gateway import Gateway, running
from tests.e2e.test_dashboard_gateway import sign_in


@pytest.fixture
def saving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway of its own, with the offline model and no budget."""
    with running(Gateway(tmp_path_factory.mktemp("budgets"), {})) as gateway:
        yield gateway


@pytest.fixture
def page(desk: Callable[..., Desk], saving: Gateway) -> Page:
    page = desk().page()
    sign_in(page, saving, "budgets")
    return page


def row(page: Page) -> Locator:
    return page.locator(".budgets tbody tr")


def test_a_budget_is_made_changed_raised_for_a_while_and_removed(page: Page) -> None:
    expect(page.get_by_text("Nothing is limited or counted.")).to_be_visible()
    page.get_by_role("button", name="Add budget").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Whose").select_option("user")
    form.get_by_label("User id").fill("lan")
    form.get_by_label("Window").select_option("day")
    form.get_by_label("Limit").fill("2.5")
    form.get_by_role("button", name="Save").click()
    expect(row(page)).to_contain_text("User lanDay$2.50")

    row(page).get_by_role("button", name="Edit").click()
    form.get_by_label("Limit").fill("4")
    form.get_by_label("Mode").select_option("soft")
    form.get_by_role("button", name="Save").click()
    expect(row(page)).to_contain_text("soft")
    row(page).get_by_role("button", name="Grant more").click()
    form.get_by_label("US dollars").fill("1")
    form.get_by_label("Reason").fill("a long day")
    form.get_by_role("button", name="Grant more").click()
    expect(row(page).locator(".status")).to_have_text("$5.00")

    row(page).get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Nothing is limited or counted.")).to_be_visible()


def test_a_budget_that_cannot_be_is_refused_in_the_form(page: Page) -> None:
    page.get_by_role("button", name="Add budget").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Whose").select_option("agent")
    form.get_by_label("Agent", exact=True).fill("nobody")
    form.get_by_role("button", name="Save").click()

    expect(form.get_by_role("alert")).to_be_visible()
