"""A real browser whose pages are watched: a test fails when one logs an error, breaks a policy or loses a request."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

CHROMIUM = os.environ.get("CHROMIUM_PATH", "/usr/bin/chromium")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
QUIET += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists() and not os.environ.get("GOCLAW_REQUIRE_BROWSER"):
        pytest.skip(f"no Chromium at {CHROMIUM}; set CHROMIUM_PATH")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)


@dataclass
class Desk:
    """A browser context whose pages are watched. `forgiven`: patterns of complaints a test provokes on purpose."""

    context: BrowserContext
    complaints: list[str] = field(default_factory=list)
    forgiven: list[str] = field(default_factory=list)

    def page(self) -> Page:
        page = self.context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        page.on("requestfailed", self._failed)
        page.on("response", lambda r: self.complaints.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
        return page

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # the page itself gave up: it was left or the filter changed
            self.complaints.append(f"{request.failure}: {request.url}")

    def verdict(self) -> list[str]:
        return [c for c in self.complaints if not any(re.search(pattern, c) for pattern in self.forgiven)]


@pytest.fixture
def desk(browser: Browser) -> Iterator[Callable[..., Desk]]:
    with ExitStack() as stack:
        desks = []

        def make(**options: Any) -> Desk:
            context = stack.enter_context(browser.new_context(viewport={"width": 1280, "height": 800}, **options))
            desks.append(Desk(context))
            return desks[-1]

        yield make
        assert [complaint for one in desks for complaint in one.verdict()] == []


@pytest.fixture
def page(desk: Callable[..., Desk]) -> Page:
    return desk().page()
