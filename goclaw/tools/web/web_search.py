"""Searching the web, by whoever has a key and answers first. Contract: tools.md §10, §11."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import trio
from msgspec import UNSET, Meta, Struct, UnsetType

from goclaw.settings.section import Secret
from goclaw.tools.tool import Answer, Effect, Source, ToolContext, ToolFailed, tool
from goclaw.tools.web.asking import WITHIN, Asking
from goclaw.tools.web.engines.brave import Brave
from goclaw.tools.web.engines.duckduckgo import DuckDuckGo
from goclaw.tools.web.engines.exa import Exa
from goclaw.tools.web.engines.perplexity import Perplexity
from goclaw.tools.web.engines.tavily import Tavily
from goclaw.tools.web.hits import Freshness, Hit, NotFound, Searcher
from goclaw.tools.web.outside import Outside
from goclaw.tools.web.page import UNSEEN

Vendor = Literal["exa", "tavily", "brave", "duckduckgo", "perplexity"]
KEYED: dict[str, Callable[[Asking, str, str], Searcher]] = {
    "exa": Exa,
    "tavily": Tavily,
    "brave": Brave,
    "perplexity": Perplexity,
}
ORDER: tuple[Vendor, ...] = ("exa", "tavily", "brave", "perplexity", "duckduckgo")


class WebSearch(Struct):
    query: Annotated[str, Meta(min_length=1, max_length=400)]
    count: Annotated[int, Meta(ge=1, le=10, extra_json_schema={"default": 5})] | UnsetType = UNSET
    provider: Vendor | None = None
    freshness: Freshness | None = None
    country: Annotated[str, Meta(pattern="^[A-Za-z]{2}$", description="ISO code, such as VN")] | None = None


class OfVendor(Struct, frozen=True):
    enabled: bool = True  # DuckDuckGo always is
    max_results: Annotated[int, Meta(ge=1, le=10)] | None = None


class WebSearchSettings(Struct, frozen=True):
    """Of an agent or tenant. Names nobody knows are left out."""

    provider_order: tuple[str, ...] = ()
    exa: OfVendor = OfVendor()
    tavily: OfVendor = OfVendor()
    brave: OfVendor = OfVendor()
    perplexity: OfVendor = OfVendor()
    duckduckgo: OfVendor = OfVendor()


@tool(
    group="web",
    effect=Effect.PURE,
    timeout=WITHIN * len(ORDER) + 5,
    parallel=True,
    settings=WebSearchSettings,
)
async def web_search(ctx: ToolContext, ask: WebSearch, outside: Outside) -> Answer:
    """Search the web: title, address and a few words of each page found. Read a page with web_fetch."""
    query = " ".join(ask.query.encode("utf-8", "replace").decode().split())
    if not query:
        raise ToolFailed("invalid_args", "query: say what to look for")
    said = ctx.setting("web_search", WebSearchSettings)
    key = (query, ask.count, ask.provider, ask.freshness, ask.country, ctx.asker.tenant_id, said)
    found = outside.hits.get(key)
    if found is None:
        found = tuple(await _asked(ctx, ask, query, said, outside))
        outside.hits.put(key, found, sum(len(each.title) + len(each.url) + len(each.snippet) for each in found))
    if not found:
        return Answer(text=f"nothing found for {query!r}; use other words")
    rows = [f"{place}. {each.title}\n   {each.url}\n   {each.snippet}".rstrip() for place, each in enumerate(found, 1)]
    return Answer(text=UNSEEN.sub("", "\n\n".join(rows)), source=Source("web search", query))


async def _asked(ctx: ToolContext, ask: WebSearch, query: str, said: WebSearchSettings, outside: Outside) -> list[Hit]:
    """What the first vendor that answers has found. Raises ToolFailed with the reason of each."""
    reasons = []
    for name in _order(ask, said, outside):
        searcher = _searcher(name, ctx, said, outside)
        if isinstance(searcher, str):
            reasons.append(f"{name}: {searcher}")
            continue
        try:
            with trio.fail_after(WITHIN):
                return await searcher.search(query, _count(name, ask, said, outside), ask.freshness, ask.country)
        except trio.TooSlowError:
            reasons.append(f"{name}: no answer within {WITHIN:g} s")
        except NotFound as trouble:
            reasons.append(f"{name}: {trouble}")
    raise ToolFailed("upstream_error", f"nobody could search: {'; '.join(reasons)}")


def _order(ask: WebSearch, said: WebSearchSettings, outside: Outside) -> list[Vendor]:
    """Whom to ask, DuckDuckGo at the latest in the end. A vendor that was named is asked alone."""
    if ask.provider is not None:
        return [ask.provider]
    wanted = said.provider_order or outside.tools.web_search.provider_order or ORDER
    known = [name for name in dict.fromkeys(wanted) if name in ORDER]
    return [*known, *(["duckduckgo"] if "duckduckgo" not in known else [])]  # type: ignore[list-item]


def _count(name: Vendor, ask: WebSearch, said: WebSearchSettings, outside: Outside) -> int:
    """How many hits are wanted: what the model says, else its agent or tenant, else the operator."""
    if ask.count is not UNSET:
        return ask.count
    most: int = getattr(said, name).max_results or getattr(outside.tools.web, name).max_results
    return most


def _searcher(name: Vendor, ctx: ToolContext, said: WebSearchSettings, outside: Outside) -> Searcher | str:
    """Who asks there, or why nobody does."""
    web = outside.tools.web
    if name == "duckduckgo":
        return DuckDuckGo(_asking(ctx, outside, web.duckduckgo.api_base), web.duckduckgo.api_base)
    vendor = getattr(web, name)
    if not vendor.enabled or not getattr(said, name).enabled:
        return "turned off"
    if not vendor.api_key:
        return "no key"
    return KEYED[name](_asking(ctx, outside, vendor.api_base, vendor.api_key), vendor.api_key.reveal(), vendor.api_base)


def _asking(ctx: ToolContext, outside: Outside, base: str, key: Secret = Secret()) -> Asking:  # noqa: B008 - immutable
    return Asking(outside.version, outside.vendors(private=bool(base)), ctx.now, key.reveal(), ctx.host)
