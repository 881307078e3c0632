"""How quick the actor page is with very many actors, in a real browser against the stand-in gateway.

    python -m tests.e2e.stand_in_measure --virtual 20000 --seconds 20

prints one JSON line: ms from opening the address to the first rows (cold, warm); while actors crash with the crowd
open, the longest task of the main thread and how many were long; rows in the document; bytes of script heap.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from playwright.sync_api import Page, sync_playwright

from tests.e2e.browser import CHROMIUM, QUIET
from tests.e2e.stand_in_process import running

LONG_TASKS = """() => {
  window.tasks = []
  const note = (list) => list.getEntries().forEach(({ duration }) => tasks.push(duration))
  new PerformanceObserver(note).observe({ type: 'longtask', buffered: true })
}"""
FRAMES = """() => {
  window.frames_ms = []
  let last = performance.now()
  const step = (now) => { frames_ms.push(now - last); last = now; requestAnimationFrame(step) }
  requestAnimationFrame(step)
}"""


def opened(page: Page, url: str) -> float:
    """ms until the first rows are in the document."""
    begun = time.perf_counter()
    page.goto(f"{url}/ui/actors", wait_until="commit")
    page.locator(".grid-rows .actor-name").nth(3).wait_for()
    return round((time.perf_counter() - begun) * 1000)


def measure(virtual: int, seconds: int, view: str, every: float) -> dict[str, Any]:
    with running(actors=2000, virtual=virtual, crash_every=every) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.add_init_script(f"({LONG_TASKS})()")
        page.goto("about:blank")  # the renderer is up; nothing of ours is cached
        cold, warm = opened(page, url), opened(page, url)
        loading = page.evaluate("window.tasks.splice(0)")
        page.locator("[role=row]").filter(has=page.locator("bdi", has_text="sessions")).locator(".twist").click()
        page.locator(".grid-note .tally").first.wait_for()
        if view != "grid":
            page.get_by_role("link", name=view.capitalize(), exact=True).click()
        opening = page.evaluate("window.tasks.splice(0)")
        page.evaluate(FRAMES)
        page.wait_for_timeout(seconds * 1000)
        tasks, frames = page.evaluate("[window.tasks, window.frames_ms]")
        rows = page.evaluate("document.querySelectorAll('[role=row]').length")
        heap = page.evaluate("performance.memory.usedJSHeapSize")
        browser.close()
    return {
        **{"view": view, "virtual": virtual, "crashes_per_s": 1 / every},
        **{"first_rows_cold_ms": cold, "first_rows_warm_ms": warm},
        "longest_task_loading_ms": max(loading, default=0),
        "longest_task_opening_crowd_ms": max(opening, default=0),
        **{"longest_task_live_ms": max(tasks, default=0), "tasks_over_50ms": len(tasks)},
        **{"longest_frame_ms": round(max(frames), 1), "frames_per_s": round(len(frames) / seconds, 1)},
        **{"rows_in_document": rows, "heap_bytes": heap},
    }


if __name__ == "__main__":
    parse = argparse.ArgumentParser()
    parse.add_argument("--virtual", type=int, default=20_000)
    parse.add_argument("--seconds", type=int, default=20)
    parse.add_argument("--view", default="grid")
    parse.add_argument("--every", type=float, default=1.0, help="seconds between two crashes")
    args = parse.parse_args()
    print(json.dumps(measure(args.virtual, args.seconds, args.view, args.every)))  # noqa: T201
