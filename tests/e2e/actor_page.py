"""The actor page under test: opened, and its parts by name."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

WORKER = "/engine/engin-001"
HUNG = "/engine/engin-005"  # never finishes the message in hand


def visit(page: Page, url: str, query: str = "") -> Locator:
    """The page's grid (or what stands in its place), read once."""
    page.goto(f"{url}/ui/actors{query}")
    expect(page.locator(".strip .figure").first).to_contain_text("actors")
    return page.get_by_role("treegrid")


def details(page: Page) -> Locator:
    return page.get_by_role("complementary", name="Actor details")


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("row").filter(has=page.locator(".actor-name", has_text=re.compile(f"^{re.escape(name)}$")))
