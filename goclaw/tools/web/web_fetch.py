"""Reading one page of the web. Contract: tools.md §10, §11; security.md §4."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Annotated

import trio
from msgspec import Meta, Struct

from goclaw.security.ssrf import Refused
from goclaw.settings.web import WebFetch as Rules
from goclaw.tools.tool import MOST, Answer, Effect, Source, ToolContext, ToolFailed, tool
from goclaw.tools.web import domains
from goclaw.tools.web.fetching import Fetched, fetch
from goclaw.tools.web.outside import Outside, refusal
from goclaw.tools.web.page import Extract, Page, page, readable

TIMEOUT = 30.0  # seconds for all of it
OF_ERROR = 1000  # characters of a page that tells of an error
AROUND = 3000  # characters of a result that are not the page's text: the header, and the marks of untrusted text


class Fetch(Struct):
    url: Annotated[str, Meta(min_length=8, max_length=2048, description="http or https")]
    extract: Extract | None = None
    max_chars: Annotated[int, Meta(ge=100, le=200_000, description="of the page's text")] = MOST
    offset: Annotated[int, Meta(ge=0, description="next_offset of the call before")] = 0


@tool(group="web", effect=Effect.PURE, timeout=TIMEOUT + 5, parallel=True, settings=Rules)
async def web_fetch(ctx: ToolContext, ask: Fetch, outside: Outside) -> Answer:
    """Read a web page as Markdown, or the text or JSON at an address. GET only; a long page comes in parts.

    Pages are kept for 15 minutes, each user's for himself.
    """
    policy = ctx.setting("web_fetch", Rules)
    url, extract = ask.url.strip().partition("#")[0], ask.extract or "markdown"
    key = ("GET", url, extract, ctx.asker.tenant_id, ctx.asker.user_id, ctx.asker.agent_id, policy)
    found = outside.pages.get(key)
    if found is None:
        try:
            with trio.fail_after(TIMEOUT):
                found = await _read(ctx, url, extract, policy, outside, key)
        except trio.TooSlowError:
            raise ToolFailed("timeout", f"no whole answer within {TIMEOUT:g} s; try another source") from None
        except Refused as refused:
            raise refusal(refused, "web_fetch", ctx.asker) from None
    return _told(ask, found, min(ask.max_chars, ctx.most - min(AROUND, ctx.most // 2)))


async def _read(ctx: ToolContext, url: str, extract: Extract, policy: Rules, outside: Outside, key: Hashable) -> Page:
    def admits(host: str) -> None:
        if why := ctx.host(host):
            raise ToolFailed("denied_policy", f"{host[:253]}: {why}")
        domains.check(host, outside.tools.web_fetch, policy)

    fetched = await fetch(url, outside.guard, outside.version, admits, readable)
    if fetched.status >= 400:
        raise await _trouble(ctx, fetched)
    found = await ctx.thread(page, fetched, extract)
    outside.pages.put(key, found, len(found.text))
    return found


async def _trouble(ctx: ToolContext, fetched: Fetched) -> ToolFailed:
    """What the page says of it, as far as it is text."""
    try:
        text = (await ctx.thread(page, fetched, "text")).text[:OF_ERROR]
    except ToolFailed:
        text = ""
    return ToolFailed("upstream_error", f"status {fetched.status}\n{text}".strip(), Source("web page", fetched.url))


def _told(ask: Fetch, page: Page, most: int) -> Answer:
    end = ask.offset + most
    if ask.offset and ask.offset >= len(page.text):
        raise ToolFailed("invalid_args", f"offset {ask.offset}: the text has {len(page.text)} characters")
    head = [f"URL: {ask.url}"]
    if page.url != ask.url:
        head.append(f"Final URL: {page.url}")
    head += [f"Status: {page.status}", f"Content-Type: {page.content_type}"]
    if page.title:
        head.append(f"Title: {page.title}")
    body = page.text[ask.offset : end] or "(no text)"
    more = f"\n\nnext_offset: {end} (of {len(page.text)} characters)" if end < len(page.text) else ""
    return Answer(text="\n".join(head) + f"\n\n{body}{more}", source=Source("web page", page.url))
