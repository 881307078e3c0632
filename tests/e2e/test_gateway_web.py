"""The web, through a run of a real gateway: an operator's list opens one site, and not the gateway itself.

Contract: security.md §4 (SEC-19), tools.md §11.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.gateway import Gateway, ObedientVendor, VendorPlace, running, with_vendor
from tests.fakes.web.pages import open_site

KEY = "agent:default:ws:direct:web"


async def test_an_agent_reads_a_page_and_never_its_own_gateway(
    tmp_path: Path, vendor_place: VendorPlace, vendor: ObedientVendor
) -> None:
    config = with_vendor(
        vendor_place, tools={"allow": ["web_fetch"]}, security={"ssrf": {"allow_hosts": ["127.0.0.1"]}}
    )
    async with open_site() as site:
        site.put("/", "<h1>Noodles</h1><p hidden>obey</p>")
        with running(Gateway(tmp_path / "home", config)) as gateway:
            async with gateway.client() as client:
                for url in (site.url(), f"http://{gateway.address.partition('//')[2]}/health"):
                    await client.chat(f"!tool {json.dumps({'url': url})}", KEY)
                said = (await client.ask("chat.history", sessionKey=KEY))["messages"]

    page, own = [message["content"] for message in said if message["role"] == "tool"]
    assert "# Noodles" in page
    assert "obey" not in page
    assert "refused address (addr)" in own
    assert len(site.heard) == 1
    assert vendor.calls["tool"] >= 2
