"""Swagger UI comes from here and nowhere else. Contract: edge-http.md §1, edge-auth.md §8."""

from __future__ import annotations

import re

import pytest

from goclaw.edge.http.docs import FILES, PAGE, POLICY, START, answer


@pytest.mark.parametrize("name", ["", "start.js", *FILES])
def test_every_file_of_the_page_is_there(name: str) -> None:
    found = answer(name)
    assert found is not None
    status, headers, body = found
    assert status == 200
    assert body
    assert headers["Content-Security-Policy"] == POLICY
    assert headers["Content-Type"].startswith(("text/", "image/"))


def test_the_page_asks_for_nothing_else() -> None:
    asked = re.findall(r'(?:href|src)="([^"]+)"', PAGE)
    assert asked
    assert all(answer(path.removeprefix("/docs/")) is not None for path in asked)
    assert "://" not in PAGE + START


@pytest.mark.parametrize("name", ["nope", "../docs.py", "swagger-ui.css/", "*", "index.html", "%2e%2e"])
def test_nothing_else_is_served(name: str) -> None:
    assert answer(name) is None
