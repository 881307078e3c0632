"""The pages of tools in a real browser, against a real gateway. Contract: dashboard.md §6.5."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.browser import Desk
from tests.e2e.gateway import Gateway, running
from tests.e2e.test_dashboard_gateway import ask, sign_in

PARAMETERS = '{"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}'


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway where hooks may run commands."""
    home = tmp_path_factory.mktemp("tools")
    (home / "data").mkdir()
    (home / "data" / "policy.yaml").write_text('allow_capabilities: [tools.*, hook.command]\nallow_domains: ["*"]\n')
    with running(Gateway(home, {})) as gateway:
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
    one.get_by_label("command").fill("ls")
    one.get_by_role("button", name="Dry run").click()
    expect(one.get_by_role("status")).to_contain_text("tool not allowed by policy: exec")
    row(page, "exec").get_by_role("button", name="Enable").click()
    expect(row(page, "exec")).to_contain_text("on")
    settings = one.get_by_role("form", name="Settings")
    settings.get_by_label("timeout_seconds").fill("0")
    settings.get_by_role("button", name="Save").click()
    expect(settings.get_by_role("alert")).to_contain_text("settings.timeout_seconds")
    settings.get_by_role("button", name="JSON").click()
    expect(settings.get_by_role("textbox")).to_have_value('{\n  "timeout_seconds": 0\n}')
    settings.get_by_role("textbox").fill('{"timeout_seconds": ')
    expect(settings.get_by_role("button", name="Save")).to_be_disabled()
    settings.get_by_role("textbox").fill('{"timeout_seconds": 5}')
    settings.get_by_role("button", name="JSON").click()
    expect(settings.get_by_label("timeout_seconds")).to_have_value("5")
    settings.get_by_role("button", name="Save").click()
    expect(settings.get_by_role("alert")).to_have_count(0)
    expect(settings.get_by_role("button", name="Save")).to_be_disabled()
    one.get_by_role("button", name="Dry run").click()
    expect(one.get_by_role("status")).to_contain_text("Agents may call it so")

    one.get_by_label("For this tenant").select_option("off")
    expect(row(page, "exec")).to_contain_text("off")
    row(page, "exec").get_by_role("button", name="Enable").click()
    expect(one.get_by_label("For this tenant")).to_have_value("on")
    one.get_by_label("For this tenant").select_option("as for everybody: on")
    expect(row(page, "exec")).to_contain_text("on")


def test_the_policy_says_beforehand_which_tools_there_would_be(desk: Callable[..., Desk], shop: Gateway) -> None:
    page = desk().page()
    sign_in(page, shop, "tools")
    page.get_by_role("link", name="Policy preview").click()
    policy = page.get_by_role("region", name="Policy preview")
    expect(policy.get_by_role("status")).to_contain_text("exec")
    policy.get_by_label("Allowed tools").fill("group:fs")
    policy.get_by_label("Denied tools").fill("write_file")
    policy.get_by_role("button", name="Preview").click()
    has = policy.locator(".names").first
    expect(has).not_to_contain_text("exec")
    expect(has).to_contain_text("read_file")
    expect(has).not_to_contain_text("write_file")
    expect(policy.locator(".names").last).to_contain_text("write_file")


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
    one.get_by_label("text").fill("you; id")
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


def test_a_hook_is_made_tried_obeyed_and_looked_back_at(desk: Callable[..., Desk], shop: Gateway) -> None:
    page = desk().page()
    sign_in(page, shop, "hooks")
    expect(page.get_by_text("No hooks yet")).to_be_visible()
    page.get_by_role("button", name="Add hook").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Name", exact=True).fill("no lists")
    form.get_by_label("Command;").fill("echo not here >&2; exit 2")
    form.get_by_label("Secret variables").fill("API_TOKEN=a-secret-of-a-test")
    form.get_by_label("Tools, as a pattern").fill("(")
    form.get_by_role("button", name="Save").click()
    expect(form.get_by_role("alert")).to_contain_text("matcher")
    form.get_by_label("Tools, as a pattern").fill("^list_files$")
    form.get_by_role("button", name="Save").click()

    row(page, "no lists").get_by_role("link").click()
    one = page.get_by_role("region", name="Hook no lists")
    expect(one).to_contain_text("API_TOKEN")
    one.get_by_role("button", name="Try it").click()
    expect(one.get_by_role("status")).to_contain_text("does not match")
    one.get_by_label("Tool", exact=True).fill("list_files")
    one.get_by_role("button", name="Try it").click()
    expect(one.get_by_role("status")).to_contain_text("blocked")
    expect(one.get_by_role("status")).to_contain_text("not here")

    page.get_by_role("link", name="Chat").click()
    ask(page, "list the files")
    expect(page.locator('.tool[data-state="failed"]')).to_have_count(1)
    expect(page.locator(".entry.assistant").last).to_contain_text("does not allow it")
    page.get_by_role("link", name="Hooks").click()
    row(page, "no lists").get_by_role("link").click()
    expect(one.locator(".decisions tbody tr")).to_have_count(1)
    one.locator(".decisions").get_by_role("link").click()
    expect(page).to_have_url(re.compile("/ui/runs/"))

    page.get_by_role("link", name="Hooks").click()
    row(page, "no lists").get_by_role("button", name="Disable").click()
    expect(row(page, "no lists")).to_contain_text("off")
    row(page, "no lists").get_by_role("link").click()
    one.get_by_role("button", name="Edit").click()
    expect(form.get_by_label("Secret variables")).to_have_value("")
    form.get_by_label("When").select_option("before a subagent begins")
    form.get_by_role("button", name="Save").click()
    expect(row(page, "no lists")).to_contain_text("before a subagent begins")
    one.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No hooks yet")).to_be_visible()
