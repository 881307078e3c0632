"""The page of providers in a real browser, a real gateway, vendors of the farm. Contract: dashboard.md §6.8."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.browser import Desk
from tests.e2e.gateway import Gateway, running
from tests.e2e.test_dashboard_gateway import sign_in


@pytest.fixture(scope="module")
def farm() -> Iterator[str]:
    """The farm as a process of its own: its origin."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "tests.fakes.vendors"], stdout=subprocess.PIPE, text=True, cwd="."
    )
    assert process.stdout is not None
    origin = next(found[0] for line in process.stdout if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
    yield origin
    process.terminate()
    process.wait()
    process.stdout.close()


@pytest.fixture(scope="module")
def lonely(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that nobody has given a vendor."""
    config = {"providers": {"allow_private": True}}
    with running(Gateway(tmp_path_factory.mktemp("providers"), config)) as gateway:
        yield gateway


@pytest.fixture
def page(desk: Callable[..., Desk], lonely: Gateway) -> Page:
    page = desk().page()
    sign_in(page, lonely, "providers")
    return page


def row(page: Page, name: str) -> Locator:
    return page.locator("tr").filter(has=page.get_by_role("link", name=name, exact=True))


def add(page: Page, type: str, name: str, base: str, key: str, models: str = "") -> None:
    page.get_by_role("button", name="Add provider").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Type").select_option(type)
    form.get_by_label("Name", exact=True).fill(name)
    form.get_by_label("Base URL").fill(base)
    form.get_by_label("API key").fill(key)
    form.get_by_label("Models").fill(models)
    form.get_by_role("button", name="Save").click()


def test_a_provider_is_added_tried_switched_off_changed_and_removed(page: Page, farm: str) -> None:
    expect(page.locator(".banner")).to_contain_text("Only the offline model answers")
    expect(row(page, "offline")).to_contain_text("ready")
    add(page, "openai_compat", "acme", f"{farm}/openai/v1", "sk-of-a-test", "gpt-4o")

    expect(row(page, "acme")).to_contain_text("ready")
    expect(page.get_by_text("Only the offline model answers")).to_have_count(0)
    expect(page.get_by_text("sk-of-a-test")).to_have_count(0)
    row(page, "acme").get_by_role("link", name="acme").click()
    one = page.get_by_role("region", name="Provider acme")
    one.get_by_role("button", name="Verify").click()
    expect(one.get_by_role("status")).to_contain_text("It answers, in")
    expect(one.locator(".traffic")).to_contain_text("In 24 hours: 0 calls")
    one.get_by_role("button", name="Fetch models").click()
    expect(one.locator("tbody tr").filter(has_text="gpt-4o").first).to_be_visible()
    row(page, "acme").get_by_role("button", name="Disable").click()
    expect(row(page, "acme")).to_contain_text("off")
    row(page, "acme").get_by_role("button", name="Enable").click()
    expect(row(page, "acme")).to_contain_text("ready")
    one.get_by_role("button", name="Edit").click()
    form = page.get_by_role("dialog")
    expect(form.get_by_label("API key")).to_have_value("")
    form.get_by_label("Display name").fill("Acme Models")
    form.get_by_role("button", name="Save").click()
    expect(row(page, "Acme Models")).to_contain_text("set")
    page.get_by_role("region", name="Provider Acme Models").get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(row(page, "Acme Models")).to_have_count(0)
    expect(page).to_have_url(re.compile(r"/ui/providers$"))


def test_a_refused_key_and_a_refused_address_say_why(page: Page, farm: str) -> None:
    add(page, "anthropic_native", "wrong", f"{farm}/anthropic/v1", "bad-key")
    row(page, "wrong").get_by_role("link").click()
    one = page.get_by_role("region", name="Provider wrong")

    one.get_by_role("button", name="Verify").click()

    expect(one.get_by_role("status").last).to_contain_text("wrong: ")
    add(page, "openai_compat", "inside", "http://169.254.169.254/v1", "k")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("refused address")
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(row(page, "inside")).to_have_count(0)


def test_an_account_is_shown_where_to_log_in_and_a_wrong_address_is_refused(page: Page) -> None:
    page.get_by_role("button", name="Add provider").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Type").select_option("chatgpt_oauth")
    expect(form.get_by_label("Name", exact=True)).to_have_value("chatgpt_oauth")
    form.get_by_role("button", name="Save").click()
    row(page, "chatgpt_oauth").get_by_role("link").click()
    one = page.get_by_role("region", name="Provider chatgpt_oauth")
    expect(one.get_by_text("nobody has logged in")).to_be_visible()

    one.get_by_role("button", name="Log in").click()

    link = one.get_by_role("link", name="Open the login page")
    expect(link).to_have_attribute("href", re.compile("/oauth/authorize.*code_challenge_method=S256"))
    one.get_by_label("Address where the browser ended").fill("http://localhost:1455/auth/callback?code=a&state=b")
    one.get_by_role("button", name="Finish login").click()
    expect(one.get_by_role("alert")).to_contain_text("not possible now")
    page.get_by_role("region").get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(row(page, "chatgpt_oauth")).to_have_count(0)
