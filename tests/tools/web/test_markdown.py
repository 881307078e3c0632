"""What a page says to its reader, and that it says no more to a model. Corpus: pages.jsonl. Contract: tools.md §11."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from goclaw.tools.web.fetching import Fetched
from goclaw.tools.web.markdown import MOST, markdown
from goclaw.tools.web.page import page
from tests.security.corpus import case

CORPUS = [json.loads(line) for line in Path(__file__).with_name("pages.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("case", [case("pages", row["id"], bool(row.get("hides")), row) for row in CORPUS])
def test_a_page(case: dict[str, Any]) -> None:
    """`shows` is its whole text; `hides` must not be in it, `keeps` must."""
    fetched = Fetched(url="https://site.example/d/p", status=200, content_type="text/html", body=case["html"].encode())
    read = page(fetched, case.get("extract", "markdown"))
    if "shows" in case:
        assert read.text == case["shows"]
    assert not [word for word in case.get("hides", []) if word in read.text + read.title]
    assert not [word for word in case.get("keeps", []) if word not in read.text]


HOSTILE = {
    "crowded": "<p " + " ".join(f"a{n}=b" for n in range(300_000)) + ">x</p>",
    "crowded by strokes": "<p" + "".join(f"/a{n}" for n in range(300_000)) + ">x</p>",
    "crowded in quotes": "<p " + " ".join(f"a{n}='<' b{n}=\">\"" for n in range(150_000)) + ">x</p>",
    "quotes that do not end": "<a b=\"<a c='" * 200_000,
    "deep": "<b>" * 250 + "x" * 1_000_000,
    "never closed": "<p" * 300_000,
    "lists in lists": "<ul><li>" * 1000 + "<li>x" * 100_000,
    "long links": f"<base href='https://e.example/{'a' * 2000}/'>" + "<a href=a>b</a>" * 50_000,
    "tables in tables": "<table><tr><td>" * 200 + "x" * 100_000,
    "marks in marks": "<i><b><code><a href=x>" * 60 + "y z" * 100_000,
    "one word": "a" * 5_000_000,
    "styles": ("<div style='" + "\\" * 5000 + "'>x</div>") * 200,
    "quotes": "<blockquote>" * 250 + "<p>x" * 50_000,
}


@pytest.mark.parametrize("html", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_page_ends_and_stays_small(html: str) -> None:
    for plain in (False, True):
        _, text = markdown(html, "https://e.example/", plain=plain)
        assert len(text) <= MOST + len(html)


HARDLY = ["", " ", "\0", "<", "<!doctype html>", "<!--", "<?xml version='1.0' encoding='utf-16'?><p>x</p>", "\ud800"]


@pytest.mark.parametrize("html", HARDLY)
def test_what_is_hardly_a_page_is_no_crash(html: str) -> None:
    markdown(html, "https://e.example/")
    markdown(html, "http://[")
