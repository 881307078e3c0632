"""The pages of runs in a real browser, on a real gateway with its offline model. Contract: dashboard.md §6.3, §13."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psycopg
import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from psycopg.types.json import Json

from tests.e2e.browser import Desk
from tests.e2e.gateway import PATIENCE, Gateway, running

FAR = (datetime.now(UTC) + timedelta(days=300)).isoformat()


class Works:
    """A gateway whose runs tests may make and bend."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        headers = {"authorization": f"Bearer {gateway.token}", "x-goclaw-user-id": "system"}
        self.http = httpx.Client(base_url=gateway.address, headers=headers, timeout=PATIENCE)

    def start(self, content: str, **more: object) -> str:
        answer = self.http.post("/v1/runs", json={"content": content, **more})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def ended(self, content: str) -> str:
        run_id = self.start(content)
        self.http.get(f"/v1/runs/{run_id}/stream").raise_for_status()
        return run_id

    def bend(self, statement: str, *values: object) -> None:
        """What no door lets anybody do."""
        with psycopg.connect(host=str(self.gateway.home / "data/pg"), user="goclaw", dbname="postgres") as db:
            db.execute(statement, values)

    def dead(self, content: str) -> str:
        """A run that was given up."""
        run_id = self.ended(content)
        self.bend(
            "UPDATE runs SET state = 'DEAD_LETTER', reason_code = 'DEAD_LETTER_MAX_ATTEMPTS', last_error = 'boom', "
            "result = NULL WHERE run_id = %s",
            run_id,
        )
        return run_id


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Works]:
    with running(Gateway(tmp_path_factory.mktemp("runs"))) as gateway:
        works = Works(gateway)
        yield works
        works.http.close()
    assert gateway.complaints() == []


@pytest.fixture(scope="module")
def shared(browser: Browser) -> Iterator[Desk]:
    with browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True) as context:
        yield Desk(context)


@pytest.fixture
def page(shared: Desk, works: Works) -> Iterator[Page]:
    page = shared.page()
    visit(page, works)
    yield page
    page.close()
    assert shared.verdict() == []


def visit(page: Page, works: Works, path: str = "runs") -> None:
    page.goto(f"{works.gateway.address}/ui/{path}")
    form = page.locator("input[type=password]")
    expect(form.or_(page.get_by_role("main")).first).to_be_visible()
    if form.is_visible():
        form.fill(works.gateway.token)
        page.keyboard.press("Enter")
    expect(page.locator("#sidebar")).to_be_attached()


def row(page: Page, text: str) -> Locator:
    return page.get_by_role("row").filter(has_text=text)


def test_a_new_task_shows_up_and_ends_without_a_reload(page: Page, works: Works) -> None:
    expect(page.get_by_role("group", name="State").get_by_role("button").first).to_contain_text(re.compile(r"\d"))
    page.keyboard.press("n")
    page.get_by_label("What to do").fill("hello from the dialog")
    page.get_by_role("button", name="Start").click()

    expect(page).to_have_url(re.compile("/ui/runs/[0-9a-f-]{36}$"))
    expect(page.get_by_role("heading", level=1)).to_have_text("hello from the dialog")
    expect(page.locator(".page-bar .run-state")).to_have_text("Succeeded")
    expect(page.locator(".timeline li b")).to_have_text(["Accepted", "Taken by a node", "Began", "Done"])
    expect(page.locator(".chain")).to_contain_text("The trail holds: 4 events, checked")
    expect(page.get_by_role("region", name="Result")).to_contain_text("offline mode")

    page.get_by_role("navigation").get_by_role("link", name="Runs").click()
    expect(row(page, "hello from the dialog")).to_contain_text("Succeeded")
    works.ended("another one from outside")
    expect(row(page, "another one from outside")).to_contain_text("Succeeded")


def test_states_kinds_and_pages_narrow_the_list_and_stay_in_the_address(page: Page, works: Works) -> None:
    for n in range(21):
        works.start(f"later {n:02d}", run_at=FAR)

    page.get_by_role("group", name="State").get_by_role("button", name=re.compile("Queued")).click()
    expect(page.get_by_role("row")).to_have_count(21)  # and the head
    expect(page.locator(".pager")).to_contain_text("1–20 of")
    page.keyboard.press("]")
    expect(page.locator(".pager")).to_contain_text("21–")
    expect(page).to_have_url(re.compile(r"\?state=QUEUED&from=20$"))
    page.reload()
    expect(row(page, "later 00")).to_have_count(1)
    page.get_by_label("Any kind").select_option("cron")
    expect(page.get_by_text("No run matches.")).to_be_visible()
    page.get_by_role("button", name="Clear filters").first.click()
    expect(row(page, "later 20")).to_have_count(1)
    expect(page.locator(".lane").filter(has_text="main")).to_contain_text(re.compile(r"Waiting\s*2\d"))


def test_a_waiting_run_is_stopped_by_keyboard_alone(page: Page, works: Works) -> None:
    run_id = works.start("stop me", run_at=FAR)
    visit(page, works, f"runs/{run_id}")
    expect(page.get_by_role("button", name="Stop")).to_be_visible()

    page.get_by_role("button", name="Stop").focus()
    page.keyboard.press("Enter")
    yes = page.get_by_role("dialog").get_by_role("button", name="Stop")
    expect(yes).to_be_enabled()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    expect(page.locator(".page-bar .run-state")).to_have_text("Cancelled")
    expect(page.locator(".timeline li b").last).to_have_text("Cancelled")
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)


def test_steps_and_effects_are_shown_as_text_and_nothing_else(page: Page, works: Works) -> None:
    run_id = works.ended("hello steps")
    tenant = str(works.gateway.rows("SELECT tenant_id FROM runs LIMIT 1")[0][0])
    message = {"role": "assistant", "content": "<img src=x onerror=alert(1)>", "tool_calls": []}
    works.bend(
        "INSERT INTO run_steps (run_id, step_no, tenant_id, kind, message, usage) VALUES (%s, 90, %s, 'llm', %s, %s)",
        run_id, tenant, Json(message), Json({"prompt_tokens": 1200, "completion_tokens": 34}),
    )  # fmt: skip
    works.bend(
        "INSERT INTO tool_effects (idempotency_key, run_id, tenant_id, step_no, call_index, tool, effect_class, "
        "request_hash, status) VALUES ('k', %s, %s, 1, 0, 'send_mail', 'unsafe', '', 'UNKNOWN')",
        run_id, tenant,
    )  # fmt: skip
    visit(page, works, f"runs/{run_id}")

    page.get_by_role("tab", name="Timeline").focus()
    page.keyboard.press("ArrowRight")
    step = page.locator(".run-steps li").last
    expect(step).to_contain_text("<img src=x onerror=alert(1)>")
    expect(step.locator("header")).to_contain_text("1,200 in · 34 out")
    page.keyboard.press("ArrowRight")
    expect(row(page, "send_mail")).to_contain_text("unknown")
    expect(page.locator(".run-main img")).to_have_count(0)


def test_a_dead_letter_is_announced_explained_and_put_away_with_a_copy(page: Page, works: Works) -> None:
    run_id = works.dead("hello dead letter")
    expect(page.locator(".banner.dead")).to_contain_text("One run was given up")
    page.get_by_role("link", name="Show them").click()
    row(page, "hello dead letter").get_by_role("link").click()

    expect(page.locator(".trouble")).to_contain_text("boom")
    expect(page.locator(".chain")).to_contain_text("The trail does not hold")
    expect(page.locator(".chain")).to_contain_text("the trail ends SUCCEEDED, the run is DEAD_LETTER")
    page.get_by_role("button", name="Discard").click()
    with page.expect_download() as saved:
        page.get_by_role("dialog").get_by_role("button", name="Discard").click()

    assert saved.value.suggested_filename == f"run-{run_id[:8]}.json"
    assert json.loads(Path(saved.value.path()).read_text())["run"]["id"] == run_id
    expect(page.get_by_text("No run matches.")).to_be_visible()


def test_a_dead_letter_is_tried_again_as_a_run_of_its_own(page: Page, works: Works) -> None:
    run_id = works.dead("hello again")
    visit(page, works, f"runs/{run_id}")
    expect(page.get_by_role("button", name="Retry", exact=True)).to_be_visible()

    page.get_by_role("button", name="Retry", exact=True).click()

    expect(page).not_to_have_url(re.compile(run_id))
    expect(page.get_by_role("heading", level=1)).to_have_text("hello again")
    expect(page.locator(".page-bar .run-state")).to_have_text("Succeeded")
    facts = page.get_by_role("complementary", name="Facts")
    expect(facts).to_contain_text("Retry of")
    facts.get_by_role("link", name=run_id[-12:]).click()
    expect(page.locator(".page-bar .run-state")).to_have_text("Dead letter")
    works.bend("UPDATE runs SET discarded = true WHERE run_id = %s", run_id)


def test_a_bundle_is_saved(page: Page, works: Works) -> None:
    run_id = works.ended("hello bundle")
    visit(page, works, f"runs/{run_id}")

    with page.expect_download() as saved:
        page.get_by_role("button", name="Incident bundle").click()

    assert saved.value.suggested_filename == f"incident-{run_id[:8]}.tar.gz"
    assert Path(saved.value.path()).read_bytes()[:2] == b"\x1f\x8b"


@pytest.mark.parametrize(("language", "heading"), [("en", "Runs"), ("vi", "Lượt chạy"), ("zh", "运行")])
def test_a_phone_shows_everything_in_every_language(
    desk: Callable[..., Desk], works: Works, language: str, heading: str
) -> None:
    room = desk(locale=language, color_scheme="dark", has_touch=True)
    page = room.page()
    page.set_viewport_size({"width": 320, "height": 700})
    run_id = works.ended("hello phone, with a long text that would not fit into a line of a small screen")

    visit(page, works)
    expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    expect(page.locator(".run-table .run-state").first).to_be_visible()
    expect(page.locator(".lane").first).to_be_visible()
    assert beyond(page) == 0
    visit(page, works, f"runs/{run_id}")
    expect(page.locator(".timeline li")).to_have_count(4)
    assert beyond(page) == 0
    assert not re.search(r"runs\.[a-z]+", page.locator("main").inner_text()), "a text is missing"


def beyond(page: Page) -> int:
    """Pixels the page is wider than the screen."""
    return int(page.evaluate("document.querySelector('main').scrollWidth - document.querySelector('main').clientWidth"))
