"""What the web tools need of an operator. Contract: config-cli.md §4.6, tools.md §3.3, §11."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from goclaw.settings.section import Secret, Section

ApiKey = Annotated[Secret, Meta(description="prefer a variable: env:NAME")]
ApiBase = Annotated[str, Meta(max_length=2048, description="empty = the vendor's own")]
Hits = Annotated[int, Meta(ge=1, le=10, description="when a model does not say how many")]
Domains = Annotated[tuple[str, ...], Meta(max_length=1000)]


class SearchVendor(Section, frozen=True):
    """Somebody who searches the web; asked when there is a key."""

    enabled: bool = True
    api_key: ApiKey = Secret()
    api_base: ApiBase = ""
    max_results: Hits = 5


class DuckDuckGo(Section, frozen=True):
    """Searches without a key, after all others, and cannot be turned off."""

    api_base: ApiBase = ""
    max_results: Hits = 5


class Web(Section, frozen=True):
    """Who searches the web for agents."""

    exa: SearchVendor = SearchVendor()
    tavily: SearchVendor = SearchVendor()
    brave: SearchVendor = SearchVendor()
    perplexity: SearchVendor = SearchVendor()
    duckduckgo: DuckDuckGo = DuckDuckGo()


class WebSearch(Section, frozen=True):
    """The tool `web_search`."""

    provider_order: Annotated[tuple[str, ...], Meta(max_length=10, description="empty = exa, tavily, brave, …")] = ()


class WebFetch(Section, frozen=True):
    """The tool `web_fetch`: which domains agents may read; `*.x.y` is what lies below x.y."""

    policy: Literal["allow_all", "allowlist"] = "allow_all"
    allowed_domains: Domains = ()
    blocked_domains: Annotated[Domains, Meta(description="wins over everything")] = ()
