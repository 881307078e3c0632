"""The dashboard in a real browser. Contract: dashboard.md §4, §7, §8, §17; ids such as DB-05 are those of its §21.

Every test ends by asserting that the page logged no error, broke no policy and lost no request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, WebSocketRoute, expect

from tests.e2e.browser import Desk
from tests.e2e.stand_in_process import control, running

TOKEN = "a-token-for-tests"


@pytest.fixture(scope="module")
def gateway_url() -> Iterator[str]:
    """A gateway without a token."""
    with running(actors=2000) as url:
        yield url


@pytest.fixture(scope="module")
def locked_url() -> Iterator[str]:
    """A gateway that wants TOKEN."""
    with running(token=TOKEN) as url:
        yield url


@pytest.fixture(scope="module")
def shared(browser: Browser) -> Iterator[Desk]:
    """One context for all tests that need no other: its cache keeps the assets."""
    with browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        yield Desk(context)


@pytest.fixture
def page(shared: Desk, gateway_url: str) -> Iterator[Page]:
    """The chat page of a gateway without a token, and nothing remembered from another test."""
    page = shared.page()
    page.goto(f"{gateway_url}/ui/")
    yield page
    page.evaluate("localStorage.clear()")
    page.close()
    assert shared.verdict() == []


def ask(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")


def test_a_gateway_without_a_token_lets_straight_in(page: Page) -> None:
    """DB-01"""
    expect(page.get_by_role("heading", name="Assistant")).to_be_visible()
    expect(page.get_by_text("Connected", exact=True)).to_be_visible()
    expect(page.get_by_role("navigation", name="Pages").get_by_role("link")).to_have_text(
        [
            "Chat",
            "Agents",
            "Sessions",
            "Runs",
            "Approvals",
            "Cron",
            "Heartbeats",
            "Actors",
            "Tools",
            "Custom tools",
            "Hooks",
            "Providers",
            "Budgets",
            "Audit",
        ]
    )

    page.go_back()

    expect(page).to_have_url("about:blank")  # a fresh conversation is no step in the history
    page.go_forward()


def test_a_wrong_token_is_explained_and_the_right_one_stays_out_of_the_address(
    desk: Callable[..., Desk], locked_url: str
) -> None:
    """DB-02"""
    page = desk().page()
    page.goto(f"{locked_url}/ui/actors")
    page.get_by_label("User id").fill("lan")
    page.get_by_label("Gateway token").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("does not know this token")

    page.get_by_label("Gateway token").fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()

    expect(page.get_by_role("treegrid")).to_be_visible()
    expect(page.locator(".who")).to_contain_text("lan")
    assert TOKEN not in page.url
    assert TOKEN not in page.evaluate("JSON.stringify(localStorage)")


def test_keeping_the_credential_survives_a_new_tab_and_log_out_reaches_all(
    desk: Callable[..., Desk], locked_url: str
) -> None:
    """DB-28"""
    room = desk()
    first = room.page()
    first.goto(f"{locked_url}/ui/")
    first.get_by_label("User id").fill("lan")
    first.get_by_label("Gateway token").fill(TOKEN)
    first.get_by_label("Keep me signed in").check()
    first.get_by_role("button", name="Sign in").click()
    expect(first.get_by_text("Connected", exact=True)).to_be_visible()
    second = room.page()
    second.goto(f"{locked_url}/ui/sessions")
    expect(second.get_by_role("table")).to_be_visible()

    second.get_by_role("button", name="Log out").click()

    for page in (first, second):
        expect(page.get_by_label("Gateway token")).to_be_visible()
        expect(page.get_by_label("User id")).to_have_value("lan")
    assert TOKEN not in first.evaluate("JSON.stringify([localStorage, sessionStorage])")


def test_an_answer_streams_with_its_tools_in_order(page: Page) -> None:
    """DB-05"""
    ask(page, "use a tool and be rich")

    expect(page.locator(".usage")).to_have_text("1.2K in · 86 out · 1.8 s")
    kinds = page.locator(".entry").evaluate_all("rows => rows.map(row => row.classList[1])")
    assert kinds == ["user", "assistant", "tool", "tool", "assistant"]
    expect(page.locator(".tool").nth(0)).to_contain_text("glob")
    expect(page.locator(".tool").nth(1)).to_have_attribute("data-state", "failed")
    page.locator(".tool summary").nth(1).click()
    expect(page.get_by_text("no such file: missing.txt")).to_be_visible()
    expect(page.locator(".md table td").first).to_have_text("one_for_one")
    expect(page.locator(".session-list [aria-current]")).to_contain_text("use a tool")


def test_stop_keeps_what_was_said(page: Page) -> None:
    ask(page, "wait for me")
    expect(page.locator(".assistant .md")).to_have_text("one two three")

    page.get_by_role("button", name="Stop").click()

    expect(page.locator(".assistant .mark")).to_have_text("[stopped]")
    expect(page.locator(".assistant .md")).to_have_text("one two three")
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)


def test_a_failed_run_shows_why_and_retry_asks_again(page: Page) -> None:
    ask(page, "please fail")
    card = page.locator(".failure").first
    expect(card).to_contain_text("The model did not answer in time.")
    expect(page.locator(".assistant .md")).to_have_text("I had begun to")

    card.get_by_role("button", name="Retry").click()

    expect(page.locator(".entry.user .said")).to_have_text(["please fail", "please fail"])
    expect(page.locator(".failure")).to_have_count(2)


@pytest.mark.parametrize("how", ["drop", "reload"])
def test_a_broken_link_resumes_the_stream_without_gap_or_double(desk: Callable[..., Desk], how: str) -> None:
    """DB-06"""
    with running() as url:
        page = desk().page()
        page.goto(f"{url}/ui/")
        ask(page, "wait for me")
        expect(page.locator(".assistant .md")).to_have_text("one two three")

        if how == "drop":
            control(url, "drop")
            expect(page.get_by_text("Reconnecting")).to_be_visible()
        else:
            page.reload()
        control(url, "release")

        expect(page.locator(".assistant .md")).to_have_text("one two three four five six")
        expect(page.get_by_role("button", name="Stop")).to_have_count(0)
        expect(page.locator(".entry.user")).to_have_count(1)
        page.goto("about:blank")  # leave before the gateway does


def test_a_killed_gateway_is_announced_and_the_draft_is_kept(desk: Callable[..., Desk]) -> None:
    """DB-04"""
    room = desk()
    room.forgiven.append("ERR_CONNECTION_REFUSED")
    page = room.page()
    with running() as url:
        page.goto(f"{url}/ui/")
        expect(page.get_by_text("Connected", exact=True)).to_be_visible()
        page.get_by_label("Message", exact=True).fill("half a thou")
    expect(page.get_by_role("alert")).to_contain_text("The gateway is away")
    expect(page.get_by_role("button", name="Send")).to_be_disabled()

    with running(port=int(url.rsplit(":", 1)[1])):
        expect(page.get_by_text("Connected", exact=True)).to_be_visible()

        expect(page.get_by_role("alert")).to_have_count(0)
        expect(page.get_by_label("Message", exact=True)).to_have_value("half a thou")
        page.goto("about:blank")


def test_a_slow_handshake_costs_no_sign_in(desk: Callable[..., Desk], locked_url: str) -> None:
    page = desk().page()
    page.goto(f"{locked_url}/ui/")
    page.get_by_label("User id").fill("lan")
    page.get_by_label("Gateway token").fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("Connected", exact=True)).to_be_visible()
    sockets = []

    def cut_the_first(socket: WebSocketRoute) -> None:
        sockets.append(socket)
        if len(sockets) == 1:
            socket.close(code=4401, reason="handshake_timeout")
        else:
            socket.connect_to_server()

    page.route_web_socket(re.compile("/ws$"), cut_the_first)
    page.reload()

    expect(page.get_by_text("Connected", exact=True)).to_be_visible()
    assert len(sockets) == 2


def test_hostile_markdown_is_text_and_a_link_asks_before_it_leaves(page: Page) -> None:
    """DB-20"""
    ask(page, "be hostile")

    expect(page.locator(".usage")).to_be_visible()
    answer = page.locator(".assistant .md")
    expect(answer).to_contain_text("<script>window.hacked=2</script>")
    assert page.evaluate("window.hacked") is None
    assert answer.locator("img, script, [style], [onclick], [onerror]").count() == 0
    links = answer.locator("a[href]").evaluate_all(
        "links => links.map(link => [link.textContent, link.href, link.rel])"
    )
    rel = "noopener noreferrer nofollow"
    assert links == [
        ["beacon", "https://tracker.invalid/p.gif", rel],
        ["far", "https://far.invalid/x", rel],
    ]
    answer.get_by_role("link", name="far").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("https://far.invalid/x")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_enter_in_the_middle_of_an_input_method_does_not_send(page: Page) -> None:
    """DB-24"""
    box = page.get_by_label("Message", exact=True)
    box.fill("ni hao")

    box.evaluate(
        "box => box.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true}))"
    )

    expect(box).to_have_value("ni hao")
    box.press("Shift+Enter")
    expect(box).to_have_value("ni hao\n")
    box.press("Enter")
    expect(page.locator(".entry.user .said")).to_have_text("ni hao")


def test_sessions_are_searched_paged_and_opened(page: Page, gateway_url: str) -> None:
    page.goto(f"{gateway_url}/ui/sessions")
    expect(page.get_by_role("row")).to_have_count(21)
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text(re.compile(r"^21–40 of"))).to_be_visible()

    page.get_by_role("searchbox").fill("number 13 about")
    expect(page.get_by_role("row")).to_have_count(2)
    page.get_by_role("link", name="Question number 13").click()

    expect(page.get_by_text("Answer number 13.")).to_be_visible()
    expect(page.get_by_text("belongs to another channel")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("searchbox")).to_have_value("number 13 about")


def test_language_and_theme_are_changed_in_place_and_remembered(page: Page) -> None:
    expect(page.get_by_text("Connected", exact=True)).to_be_visible()
    page.get_by_label("Language").select_option("zh")
    expect(page.get_by_role("navigation").get_by_role("link")).to_have_text(
        [
            "聊天",
            "智能体",
            "会话",
            "运行",
            "批准",
            "定时任务",
            "心跳",
            "Actor",
            "工具",
            "自定义工具",
            "钩子",
            "模型服务",
            "预算",
            "审计",
        ]
    )
    page.get_by_role("button", name="主题").click()
    page.get_by_role("button", name="主题").click()

    page.reload()

    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page.locator("html")).to_have_attribute("lang", "zh")
    expect(page.get_by_text("已连接")).to_be_visible()


@pytest.mark.parametrize("where", ["chat", "sessions", "actors"])
def test_nothing_scrolls_sideways_on_a_phone(desk: Callable[..., Desk], gateway_url: str, where: str) -> None:
    page = desk(color_scheme="dark", locale="vi-VN").page()
    page.set_viewport_size({"width": 320, "height": 640})
    page.goto(f"{gateway_url}/ui/{where}")
    expect(page.locator("main h1")).to_be_visible()
    expect(page.locator(".skeleton")).to_have_count(0)

    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    page.get_by_role("button", name="Menu").click()
    expect(page.get_by_role("link", name="Trò chuyện")).to_be_visible()


RUN_EVENTS = """async ([events, skip]) => {
  const here = document.querySelector('script[type=module]').src
  const { Transcript } = await import(new URL('chat/transcript.mjs', here))
  const transcript = new Transcript()
  const answers = events.map(([runSeq, type, payload]) => transcript.apply({ runId: 'r', runSeq, type, payload }))
  if (skip) {
    transcript.skipTo('r', 9, 'so far')
    answers.push(transcript.apply({ runId: 'r', runSeq: 10, type: 'chunk', payload: { content: ' on' } }))
  }
  transcript.apply({ runId: 'r', runSeq: transcript.seq('r') + 1, type: 'activity', payload: {} })
  const texts = transcript.entries.value.filter((e) => e.kind === 'assistant').map((e) => e.text.value)
  return { answers, texts, active: transcript.active.value.length }
}"""


STARTED = [1, "run.started", {}]


def chunk(seq: int, text: str) -> list[Any]:
    return [seq, "chunk", {"content": text}]


@pytest.mark.parametrize(
    ("events", "skip", "answers", "texts", "active"),
    [
        pytest.param([chunk(1, "a"), chunk(1, "a")], False, [True, True], ["a"], 0, id="seen twice, shown once"),
        pytest.param([STARTED, chunk(3, "lost")], False, [True, False], [], 1, id="a hole is refused"),
        pytest.param([STARTED, chunk(3, "x")], True, [True, False, True], ["so far on"], 1, id="the buffer is gone"),
        pytest.param(
            [STARTED, chunk(2, "void"), [3, "run.retrying", {"reset": True}], chunk(4, "good")],
            *(False, [True] * 4, ["good"], 1),
            id="a retry voids its text",
        ),
        pytest.param(
            [STARTED, chunk(2, "drft"), [3, "run.completed", {"content": "draft"}]],
            *(False, [True] * 3, ["draft"], 0),
            id="the final text wins",
        ),
    ],
)
def test_run_events_become_text_once_and_in_order(
    page: Page, events: list[Any], skip: bool, answers: list[bool], texts: list[str], active: int
) -> None:
    assert page.evaluate(RUN_EVENTS, [events, skip]) == {"answers": answers, "texts": texts, "active": active}


FILES = [
    {"path": "/v1/files/~1.a/default/-/r%C3%A9port.csv", "content_type": "text/csv", "size": 2048},
    {"path": "/v1/files/~1.a/default/-/b.txt", "content_type": "text/plain", "size": 3},
]
WITH_FILES = """async ([run, refs]) => {
  const here = document.querySelector('script[type=module]').src
  const { Transcript } = await import(new URL('chat/transcript.mjs', here))
  const told = new Transcript(), read = new Transcript()
  told.apply({ runId: 'r', runSeq: 1, type: 'run.completed', payload: { content: '', media: run } })
  read.load({ messages: [{ id: 'm', role: 'assistant', content: '', run_id: 'r', media_refs: refs }] })
  return [told, read].map((one) => one.entries.value.map((e) => e.files.value.map((file) => file.path)))
}"""


def test_files_of_an_answer_are_shown_from_its_event_and_from_history(page: Page) -> None:
    refs = [{"path": file["path"], "mime_type": file["content_type"], "kind": "document"} for file in FILES]
    paths = [file["path"] for file in FILES]
    assert page.evaluate(WITH_FILES, [FILES, refs]) == [[paths], [paths]]


def test_a_file_of_an_answer_is_a_link_with_its_name(page: Page) -> None:
    page.evaluate(
        """async (files) => {
  const here = document.querySelector('script[type=module]').src
  const { render } = await import('preact')
  const { html } = await import(new URL('core/html.mjs', here))
  const { Files } = await import(new URL('chat/files.mjs', here))
  const box = document.body.appendChild(document.createElement('div'))
  render(html`<${Files} files=${files} />`, box)
}""",
        FILES,
    )
    link = page.get_by_role("link", name="réport.csv")
    expect(link).to_have_attribute("href", FILES[0]["path"])
    expect(link).to_contain_text("2")
