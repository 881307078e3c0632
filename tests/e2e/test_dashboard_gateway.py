"""The dashboard against the real gateway: what a stranger does in the first five minutes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.browser import Desk
from tests.e2e.gateway import Gateway, running


def sign_in(page: Page, gateway: Gateway, path: str = "") -> None:
    page.goto(f"{gateway.address}/ui/{path}")
    page.get_by_label("Gateway token").fill(gateway.token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("Connected", exact=True)).to_be_visible()


def ask(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")


@pytest.fixture
def page(desk: Callable[..., Desk]) -> Page:
    room = desk()
    # what this gateway does not have yet is asked once
    room.forgiven.append("404: .*/v1/health/components|responded with a status of 404")
    room.forgiven.append("ERR_CONNECTION_REFUSED|WebSocket connection|ERR_EMPTY_RESPONSE|net::ERR_CONNECTION_RESET")
    return room.page()


def test_the_conversation_is_there_after_the_process_was_killed(page: Page, tmp_path: Path) -> None:
    with running(Gateway(tmp_path)) as gateway:
        (tmp_path / "workspace").mkdir(exist_ok=True)
        (tmp_path / "workspace" / "notes.md").write_text("milk, bread")
        page.goto(gateway.address)
        expect(page).to_have_url(re.compile("/ui/"))
        sign_in(page, gateway)

        ask(page, "list files and read notes.md")
        expect(page.get_by_text("milk, bread").last).to_be_visible()
        expect(page.locator(".tool")).to_have_count(2)
        port = gateway.address.rpartition(":")[2]
        gateway.kill()
        gateway.start("--port", port)

        expect(page.get_by_text("Connected", exact=True)).to_be_visible(timeout=40_000)
        page.reload()
        expect(page.get_by_text("milk, bread").last).to_be_visible()
        ask(page, "hello")
        expect(page.locator(".usage")).to_have_count(1)


def test_the_tree_shows_the_session_that_was_spoken_in(page: Page, tmp_path: Path) -> None:
    with running(Gateway(tmp_path)) as gateway:
        sign_in(page, gateway)
        ask(page, "what time is it")
        expect(page.locator(".usage")).to_have_count(1)

        page.get_by_role("link", name="Actors").click()
        expect(page.get_by_role("treegrid")).to_contain_text("watchdog")
        page.get_by_role("searchbox").or_(page.get_by_placeholder("Filter")).first.fill("agent:default:ws")
        expect(page.get_by_role("treegrid")).to_contain_text("Session")
        page.get_by_role("link", name="Sessions").click()
        expect(page.get_by_role("table")).to_contain_text("what time is it")


def test_a_slash_word_is_answered_and_stays_out_of_the_history(page: Page, tmp_path: Path) -> None:
    with running(Gateway(tmp_path)) as gateway:
        sign_in(page, gateway)
        ask(page, "what time is it")
        expect(page.locator(".usage")).to_have_count(1)
        ask(page, "/queue")
        expect(page.get_by_text("Queue mode: queue.")).to_be_visible()
        expect(page.locator(".entry.user")).to_have_count(1)
        ask(page, "/reset")
        expect(page.get_by_text("The conversation begins anew.")).to_be_visible()
        expect(page.locator(".entry.user")).to_have_count(0)


def test_a_session_is_renamed_and_deleted(page: Page, tmp_path: Path) -> None:
    with running(Gateway(tmp_path)) as gateway:
        sign_in(page, gateway)
        ask(page, "what time is it")
        expect(page.locator(".usage")).to_have_count(1)
        page.get_by_role("link", name="Sessions").click()
        page.get_by_role("button", name="Actions for what time is it").click()
        page.get_by_label("Name").fill("The hour")
        page.get_by_role("button", name="Rename").click()

        page.get_by_role("button", name="Actions for The hour").click()
        page.get_by_role("button", name="Compact").click()
        expect(page.get_by_text("There is too little to compact.")).to_be_visible()
        page.get_by_role("button", name="Delete").click()
        page.locator("dialog").last.get_by_role("button", name="Delete").click()

        expect(page.get_by_text("No session yet")).to_be_visible()
