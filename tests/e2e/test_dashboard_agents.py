"""Agents, approvals and the emergency stop in a real browser with the offline model. Contract: dashboard.md §6, §8."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.browser import Desk
from tests.e2e.gateway import Gateway, running
from tests.e2e.test_dashboard_gateway import ask, sign_in


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that asks about every command, with one note in the workspace."""
    home = tmp_path_factory.mktemp("agents")
    (home / "workspace").mkdir()
    (home / "workspace" / "notes.md").write_text("milk and bread\n\nCall the plumber. Twice.\n")
    with running(Gateway(home, {"tools": {"execApproval": {"ask": "always"}}})) as gateway:
        yield gateway


@pytest.fixture
def page(desk: Callable[..., Desk], house: Gateway) -> Page:
    page = desk().page()
    sign_in(page, house)
    return page


def test_files_are_listed_read_and_written_and_a_command_waits_for_a_yes(page: Page, house: Gateway) -> None:
    """Issue 6 in one conversation: plain words, a real directory, and nothing runs that nobody allowed."""
    ask(page, "list the files, read notes.md, write summary.md")
    expect(page.locator('.tool[data-state="done"]')).to_have_count(3)
    expect(page.locator(".entry.assistant").last).to_contain_text("write_file ok")
    summary = house.home / "workspace" / "summary.md"
    assert summary.read_text() == "- milk and bread\n- Call the plumber.\n"

    ask(page, "run `wc -l notes.md`")
    card = page.locator(".transcript .approval")
    expect(card).to_contain_text("default wants to use exec")
    expect(card.locator("pre")).to_have_text("wc -l notes.md")
    expect(page.locator(".composer .activity")).to_contain_text("Waiting for approval")
    expect(page).to_have_title(re.compile(r"^\(1\) "))
    card.get_by_role("button", name="Allow once").click()
    expect(card).to_have_count(0)
    expect(page.locator(".entry.assistant").last).to_contain_text("3 notes.md")

    ask(page, "count the lines of summary.md")
    expect(card).to_have_count(1)
    page.get_by_role("link", name="Agents", exact=True).click()
    notice = page.locator(".notices li")
    expect(notice).to_contain_text("wc -l summary.md")
    notice.get_by_role("link", name="Look").click()
    waiting = page.locator(".approval")
    waiting.get_by_role("button", name="Deny").click()
    page.get_by_role("dialog").get_by_label("Reason").fill("not today")
    page.get_by_role("dialog").get_by_role("button", name="Deny").click()
    expect(page.locator(".decided")).to_contain_text("denied")
    page.get_by_role("link", name="Chat").click()
    page.locator(".session-list a").first.click()
    expect(page.locator(".entry.assistant").last).to_contain_text("not today")


def test_what_is_always_allowed_is_a_rule_that_can_be_taken_back(page: Page) -> None:
    ask(page, "run `wc -c notes.md`")
    page.locator(".approval").get_by_role("button", name="Always allow").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("pre")).to_have_text("wc")
    dialog.get_by_role("button", name="Always allow").click()
    expect(page.locator(".entry.assistant").last).to_contain_text("41 notes.md")

    page.get_by_role("link", name="Approvals").click()
    page.get_by_role("tab", name="Rules").click()
    rule = page.locator("tbody tr")
    expect(rule).to_contain_text("wc")
    rule.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No rule yet")).to_be_visible()


def test_an_agent_is_summoned_shaped_and_deleted(page: Page) -> None:
    page.get_by_role("link", name="Agents", exact=True).click()
    page.get_by_role("button", name="New agent").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Name").fill("Tea Master")
    expect(form.get_by_label("Key")).to_have_value("tea-master")
    form.get_by_label("Predefined").check()
    form.get_by_label("Who it is").fill("Knows every tea there is.")
    form.get_by_role("button", name="Summon").click()

    expect(page).to_have_url(re.compile("/ui/agents/tea-master"))
    steps = page.get_by_role("region", name="Summoning")
    expect(steps).to_contain_text("Its files are written.")
    expect(steps).to_contain_text("SOUL.md")
    expect(steps).to_contain_text("No model is connected")
    page.get_by_role("tab", name="Files").click()
    text = page.get_by_label("SOUL.md", exact=True)
    expect(text).to_have_value(re.compile("Knows every tea"))
    text.fill("# Soul\n\nCalm.")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").filter(has_text="SOUL.md is saved")).to_be_attached()

    page.get_by_role("tab", name="Config").click()
    model = page.get_by_role("form", name="Model and limits")
    model.get_by_label("Thinking").select_option("low")
    model.get_by_label("Rounds of tools").fill("7")
    model.get_by_role("button", name="Save").click()
    expect(model.get_by_role("button", name="Save")).to_be_disabled()
    tools = page.get_by_role("form", name="Tools")
    tools.get_by_label("Denied tools").fill("exec, group:web")
    tools.get_by_role("button", name="Save").click()
    expect(tools.get_by_role("button", name="Save")).to_be_disabled()
    page.get_by_role("tab", name="Sharing").click()
    shares = page.get_by_role("region", name="Shared with")
    shares.get_by_label("User id").fill("lan")
    shares.get_by_role("button", name="Share").click()
    expect(shares.locator("tbody")).to_contain_text("lan")
    page.reload()
    expect(shares.locator("tbody")).to_contain_text("lan")
    page.get_by_role("tab", name="Config").click()
    expect(model.get_by_label("Rounds of tools")).to_have_value("7")
    expect(tools.get_by_label("Denied tools")).to_have_value("exec, group:web")

    page.get_by_role("tab", name="Sharing").click()
    page.get_by_role("region", name="Different for some users").get_by_role("button", name="Add").click()
    form.get_by_label("User id").fill("lan")
    form.get_by_label("Language").fill("vi")
    form.get_by_role("button", name="Save").click()
    expect(page.get_by_role("region", name="Different for some users").locator("tbody")).to_contain_text("language=vi")
    page.get_by_role("tab", name="Overview").click()
    page.get_by_role("button", name="Write files anew").click()
    expect(form).to_contain_text("What they say now is lost")
    form.get_by_role("button", name="Write files anew").click()
    expect(steps).to_contain_text("No model is connected")
    page.get_by_role("tab", name="Config").click()
    page.get_by_role("region", name="Danger zone").get_by_role("button", name="Delete").click()
    form.get_by_label("Type tea-master").fill("tea-master")
    form.get_by_role("button", name="Delete").click()
    expect(page).to_have_url(re.compile(r"/ui/agents$"))
    expect(page.get_by_role("table")).not_to_contain_text("Tea Master")


def test_who_talks_to_an_agent_what_it_did_and_what_that_took(page: Page) -> None:
    page.get_by_role("link", name="Agents", exact=True).click()
    page.get_by_role("table").get_by_role("link", name="GoClaw").click()
    page.get_by_role("button", name="Wake").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Message").fill("what time is it")
    form.get_by_role("button", name="Wake").click()
    expect(page.get_by_role("status").filter(has_text="It was woken")).to_be_visible()

    page.get_by_role("tab", name="Runs").click()
    run = page.locator("tbody tr").filter(has_text="what time is it")
    expect(run).to_contain_text("Wake")
    expect(run).to_contain_text("Succeeded")
    page.get_by_role("tab", name="Usage").click()
    expect(page.get_by_role("img", name="tokens over time")).to_be_visible()
    expect(page.locator(".use-models")).to_contain_text("offline-1")
    page.get_by_role("button", name="24 hours").click()
    expect(page.locator(".use-models")).to_contain_text("offline-1")

    page.get_by_role("tab", name="Users").click()
    page.get_by_role("button", name="system", exact=True).click()
    person = page.get_by_role("region", name="system")
    person.get_by_label("USER.md").fill("# Your user\n\nIs called An.")
    person.get_by_role("button", name="Save").first.click()
    expect(person.get_by_role("button", name="Save").first).to_be_disabled()
    person.get_by_label("What else is known").fill('{"display_name": "An"}')
    person.get_by_role("button", name="Save").last.click()
    expect(page.locator(".people tbody")).to_contain_text("An")
    page.reload()
    expect(person.get_by_label("USER.md")).to_have_value(re.compile("Is called An"))


def test_several_commands_wait_and_are_answered_from_the_keyboard(page: Page) -> None:
    """DB-21, of approvals: nothing but keys, from the first card to none."""
    for file in ("notes.md", "other.md"):
        ask(page, f"run `wc -w {file}`")
        expect(page.locator(".transcript .approval")).to_have_count(1)
        page.get_by_role("link", name="New").click()
        expect(page.locator(".transcript .approval")).to_have_count(0)
    page.get_by_role("navigation").get_by_role("link", name="Approvals").click()
    expect(page.get_by_role("heading", name="Approvals", exact=True)).to_be_visible()
    expect(page.locator(".approval")).to_have_count(2)
    expect(page.locator(".sidebar .count")).to_have_text("2")

    page.locator("#main").focus()
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator(".approval").last).to_be_focused()
    page.keyboard.press("d")
    expect(page.get_by_role("dialog")).to_contain_text("wc -w other.md")
    page.get_by_role("dialog").get_by_label("Reason").press("Enter")
    expect(page.locator(".decided")).to_contain_text("denied")
    expect(page.locator(".approval")).to_be_focused()
    page.keyboard.press("a")
    expect(page.get_by_role("dialog")).to_contain_text("wc -w notes.md")
    expect(page.get_by_role("dialog").get_by_role("button", name="Allow once")).to_be_enabled()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".decided")).to_contain_text("allowed once")
    expect(page.locator(".approval")).to_have_count(0)
    expect(page.locator(".sidebar .count")).to_have_count(0)


def test_the_emergency_stop_is_seen_released_and_audited(page: Page) -> None:
    page.get_by_role("navigation").get_by_role("link", name="Approvals").click()
    page.get_by_role("button", name="Emergency stop").click()
    form = page.get_by_role("dialog")
    form.get_by_label("everything").uncheck()
    form.get_by_label("the network").check()
    form.get_by_label("Reason").fill("a drill")
    form.get_by_role("button", name="Stop").click()

    page.get_by_role("link", name="Audit").click()
    banner = page.locator(".banner.stopped")
    expect(banner).to_contain_text("the network")
    expect(banner).to_contain_text("a drill")
    banner.get_by_role("button", name="Release").click()
    form.get_by_role("button", name="Release").click()
    expect(banner).to_have_count(0)
    page.get_by_role("button", name="Verify").click()
    expect(page.get_by_text("nobody touched them")).to_be_visible()
    page.get_by_placeholder("Action").fill("estop.*")
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.locator("tbody")).to_contain_text("estop.released")
