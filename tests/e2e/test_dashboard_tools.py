"""The pages of tools in a real browser, against a real gateway. Contract: dashboard.md §6.5."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.browser import Desk
from tests.e2e.gateway import Gateway, running
from tests.e2e.test_dashboard_gateway import sign_in

PARAMETERS = '{"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}'


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(Gateway(tmp_path_factory.mktemp("tools"), {})) as gateway:
        yield gateway


def row(page: Page, name: str) -> Locator:
    return page.locator("tr").filter(has=page.get_by_role("link", name=name, exact=True))


def test_a_tool_is_switched_off_set_and_tried(desk: Callable[..., Desk], shop: Gateway) -> None:
    page = desk().page()
    sign_in(page, shop, "tools")
    expect(row(page, "exec")).to_contain_text("on")

    row(page, "exec").get_by_role("button", name="Disable").click()
    expect(row(page, "exec")).to_contain_text("off")
    row(page, "exec").get_by_role("link").click()
    one = page.get_by_role("region", name="Tool exec")
    one.get_by_label("Arguments").fill('{"command": "ls"}')
    one.get_by_role("button", name="Dry run").click()
    expect(one.get_by_role("status")).to_contain_text("tool not allowed by policy: exec")
    row(page, "exec").get_by_role("button", name="Enable").click()
    expect(row(page, "exec")).to_contain_text("on")
    one.get_by_label("Settings", exact=True).fill('{"timeout_seconds": 0}')
    one.get_by_role("button", name="Save").click()
    expect(one.get_by_role("alert")).to_contain_text("settings.timeout_seconds")
    one.get_by_label("Settings", exact=True).fill('{"timeout_seconds": 5}')
    one.get_by_role("button", name="Save").click()
    expect(one.get_by_role("alert")).to_have_count(0)
    one.get_by_role("button", name="Dry run").click()
    expect(one.get_by_role("status")).to_contain_text("Agents may call it so")


def test_a_custom_tool_is_made_tried_run_changed_and_removed(desk: Callable[..., Desk], shop: Gateway) -> None:
    page = desk().page()
    sign_in(page, shop, "custom-tools")
    page.get_by_role("button", name="Add tool").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Name", exact=True).fill("greet")
    form.get_by_label("Description").fill("Greet somebody")
    form.get_by_label("Command;").fill("echo hello {{.who}}")
    form.get_by_label("Parameters").fill(PARAMETERS)
    expect(form.get_by_role("status")).to_contain_text("No parameter is called who")
    expect(form.get_by_role("button", name="Save")).to_be_disabled()
    form.get_by_label("Command;").fill('echo "hello {{.text}}"')
    form.get_by_role("button", name="Save").click()
    expect(form.get_by_role("alert")).to_contain_text("remove the quotes around {{.text}}")
    form.get_by_label("Command;").fill("echo hello {{.text}}")
    form.get_by_label("Secret environment").fill("API_TOKEN=a-secret-of-a-test")
    form.get_by_role("button", name="Save").click()

    row(page, "greet").get_by_role("link").click()
    one = page.get_by_role("region", name="Tool greet")
    expect(one).to_contain_text("Secrets that are set: API_TOKEN")
    one.get_by_label("Arguments").fill('{"text": "you; id"}')
    one.get_by_role("button", name="Dry run").click()
    expect(one.get_by_role("status")).to_contain_text("echo hello 'you; id'")
    one.get_by_role("button", name="Run it").click()
    expect(one.get_by_role("status")).to_contain_text("hello you; id")
    one.get_by_role("button", name="Edit").click()
    form = page.get_by_role("dialog")
    expect(form.get_by_label("Secret environment")).to_have_value("")
    form.get_by_label("Command;").fill("echo good morning {{.text}}")
    form.get_by_role("button", name="Save").click()
    expect(one).to_contain_text("good morning")
    expect(one).to_contain_text("API_TOKEN")
    expect(page.get_by_text("a-secret-of-a-test")).to_have_count(0)
    one.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(row(page, "greet")).to_have_count(0)
    expect(page.get_by_text("No custom tools yet")).to_be_visible()
